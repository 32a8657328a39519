"""Listening addresses: loopback by default, others only with keys or anonymous access."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

SERVE = ("-c", "from sidecar.cli import main; main()", "serve")
EVERYWHERE = "0.0.0.0"  # noqa: S104
REFUSAL = (
    "without keys only loopback is served. "
    "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if anyone who can reach the port may use it.\n"
)


def served(directory: Path, **environment: str) -> AbstractContextManager[Process]:
    program = ("-m", "tests.integration.server.program", "hash")
    return sidecar_process(directory, program, DATABASE_URL="", **environment)


def test_without_keys_it_does_not_listen_beyond_loopback(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, SERVE, BIND_HOST="0", DATABASE_URL="") as process:  # another way to say 0.0.0.0
        assert process.exit_code() == 2
        assert process.log == f"ERROR: BIND_HOST='0': {REFUSAL}"


def test_an_invalid_key_in_a_setting_is_not_shown(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, SERVE, API_KEYS="shop:my-secret-0123456789", DATABASE_URL="") as process:
        assert process.exit_code() == 2
        assert "API_KEYS: entry 1: only scopes may come before a colon" in process.log
        assert "secret" not in process.log
        assert "shop" not in process.log


def test_with_anonymous_access_it_listens_everywhere_and_warns(tmp_path: Path) -> None:
    with served(tmp_path, BIND_HOST=EVERYWHERE, ALLOW_ANONYMOUS="1") as process:
        process.await_ready()
        answer = httpx.post(f"{process.url}/embed/text", json={"text": "a"}, headers={"Host": "any.example"})
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert f"ALLOW_ANONYMOUS=1: anyone who can reach {EVERYWHERE}:" in process.log


def answers_at(process: Process, host: str) -> bool:
    try:
        return httpx.get(f"{process.url.replace('127.0.0.1', host)}/livez").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("bind_host", "served_at"),
    [
        ("::", {"127.0.0.1", "127.0.0.2", "[::1]"}),
        ("127.0.0.1,::1", {"127.0.0.1", "[::1]"}),
        ("[::1], localhost ,127.0.0.1", {"127.0.0.1", "[::1]"}),
        ("0.0.0.0,127.0.0.1", {"127.0.0.1", "127.0.0.2"}),
        ("127.0.0.2,::1", {"127.0.0.2", "[::1]"}),
    ],
)
def test_it_listens_at_every_address_of_both_families(tmp_path: Path, bind_host: str, served_at: set[str]) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with served(tmp_path, BIND_HOST=bind_host, ALLOW_ANONYMOUS="1") as process:
        wait_until(lambda: "documentation at" in process.log, lambda: process.log, timeout_s=20)
        hosts = ("127.0.0.1", "127.0.0.2", "[::1]")
        wait_until(lambda: {host for host in hosts if answers_at(process, host)} == served_at, lambda: process.log)
        httpx.get(process.url.replace("127.0.0.1", min(served_at)) + "/status")
        assert "::ffff:" not in process.log  # clients of IPv4 are known by their addresses


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("bind_host", ["::", "::1,127.0.0.1", "localhost"])
def test_a_machine_without_ipv6_serves_ipv4(tmp_path: Path, bind_host: str) -> None:
    without = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && exec "
    arguments = ("unshare", "--net", "sh", "-c")
    if shutil.which("unshare") is None or subprocess.run([*arguments, without + "true"], check=False).returncode:
        pytest.skip("a network without IPv6 cannot be made here")
    command = shlex.join([sys.executable, "-m", "tests.integration.server.program", "hash"])
    start = f"import os; os.execvp('unshare', {[*arguments, without + command]!r})"
    with sidecar_process(tmp_path, ("-c", start), DATABASE_URL="", BIND_HOST=bind_host, ALLOW_ANONYMOUS="1") as process:
        wait_until(lambda: "documentation at" in process.log, lambda: process.log, timeout_s=20)
        ask = f"import urllib.request as u; print(u.urlopen('{process.url}/livez').read().decode())"
        asked = subprocess.run(
            ["nsenter", "--net", "--target", str(process.pid), sys.executable, "-c", ask],
            check=True,
            capture_output=True,
            text=True,
        )
        assert json.loads(asked.stdout) == {"status": "alive"}


def test_an_address_of_another_machine_exits_with_code_1_and_one_line(tmp_path: Path) -> None:
    with served(tmp_path, BIND_HOST="127.0.0.1,198.51.100.7", ALLOW_ANONYMOUS="1") as process:
        assert process.exit_code() == 1
        assert f"cannot listen on port {process.url.rpartition(':')[2]} of 198.51.100.7: Cannot assign" in process.log
        assert "Traceback" not in process.log


def test_one_address_beyond_loopback_requires_keys(tmp_path: Path) -> None:
    for bind_host in ("::", "127.0.0.1,0.0.0.0", "::1,[::]"):
        with sidecar_process(tmp_path, SERVE, BIND_HOST=bind_host, DATABASE_URL="") as process:
            assert process.exit_code() == 2
            assert process.log == f"ERROR: BIND_HOST='{bind_host}': {REFUSAL}"


def test_with_a_key_file_it_listens_everywhere_and_requires_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("embed:0123456789abcdef\n")
    with served(tmp_path, BIND_HOST=EVERYWHERE, API_KEYS_FILE=str(keys)) as process:
        process.await_ready()
        for key, status in (("0123456789abcdef", 200), ("another-0123456789", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.post(f"{process.url}/embed/text", json={"text": "a"}, headers=headers)
            assert answer.status_code == status
