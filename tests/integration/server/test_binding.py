"""Where it may listen: on loopback, or for those it was told to serve."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from tests.integration.server.process import Process, sidecar_process

SERVE = ("-c", "from sidecar.cli import main; main()", "serve")
EVERYWHERE = "0.0.0.0"  # noqa: S104
REFUSAL = (
    "without keys only loopback is served. "
    "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if everybody who reaches the port may use it.\n"
)


def served(directory: Path, **environment: str) -> AbstractContextManager[Process]:
    program = ("-m", "tests.integration.server.program", "hash")
    return sidecar_process(directory, program, DATABASE_URL="", **environment)


def test_without_keys_it_does_not_listen_beyond_loopback(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, SERVE, BIND_HOST="0", DATABASE_URL="") as process:  # another way to say 0.0.0.0
        assert process.exit_code() == 2
        assert process.log == f"ERROR: BIND_HOST='0': {REFUSAL}"


def test_a_key_in_a_setting_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, SERVE, API_KEYS="shop:my-secret-0123456789", DATABASE_URL="") as process:
        assert process.exit_code() == 2
        assert "API_KEYS: entry 1: only scopes may stand before a colon" in process.log
        assert "secret" not in process.log
        assert "shop" not in process.log


def test_with_leave_for_everybody_it_listens_everywhere_and_warns(tmp_path: Path) -> None:
    with served(tmp_path, BIND_HOST=EVERYWHERE, ALLOW_ANONYMOUS="1") as process:
        process.await_ready()
        answer = httpx.post(f"{process.url}/embed/text", json={"text": "a"}, headers={"Host": "any.example"})
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert f"ALLOW_ANONYMOUS=1: everybody who reaches {EVERYWHERE}:" in process.log


def test_a_file_of_keys_opens_it_to_those_who_have_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("embed:0123456789abcdef\n")
    with served(tmp_path, BIND_HOST=EVERYWHERE, API_KEYS_FILE=str(keys)) as process:
        process.await_ready()
        for key, status in (("0123456789abcdef", 200), ("another-0123456789", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.post(f"{process.url}/embed/text", json={"text": "a"}, headers=headers)
            assert answer.status_code == status
