from __future__ import annotations

import pytest

from sidecar.config import Settings
from sidecar.demo.service import url_of_service


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),  # noqa: S104
        ("::", "http://[::1]:9000"),
        ("example.org", "http://example.org:9000"),
    ],
)
def test_the_url_is_reachable_for_a_client_on_this_machine(host: str, url: str) -> None:
    assert url_of_service(Settings(bind_host=host)) == url
