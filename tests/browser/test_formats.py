"""Numbers as the console writes them."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenConsole
from tests.integration.server.process import Process


@pytest.mark.parametrize(
    ("call", "written"),
    [
        ("percent(0)", "0 %"),
        ("percent(0.004)", "<1 %"),
        ("percent(0.0004, 1)", "<0.1 %"),
        ("percent(0.5)", "50 %"),
        ("percent(1)", "100 %"),
        ("duration(0.9996)", "1.0 s"),
        ("duration(0.9)", "900 ms"),
        ("duration(9.97)", "10 s"),
        ("duration(59.7)", "1 min"),
        ("duration(3590)", "1 h"),
        ("duration(null)", "–"),
        ("perSecond(0.4)", "0.4"),
        ("perSecond(2.5)", "2.5"),
        ("perSecond(0)", "0"),
        ("perSecond(250)", "250"),
        ("perSecond(12000)", "12K"),
    ],
)
def test_small_shares_and_rounded_times(open_console: OpenConsole, demo: Process, call: str, written: str) -> None:
    page = open_console(demo.url).open().page
    assert (
        page.evaluate(f"import('/console/formats.js').then(({{ percent, duration, perSecond }}) => {call})") == written
    )
