from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sidecar.port_holder import name_port_holder
from tests.ports import find_free_port


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_program_that_listens_is_named(family: socket.AddressFamily, host: str) -> None:
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((host, 0), family=family) as listener:
        holder = name_port_holder(listener.getsockname()[1])
    assert holder == f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"


def test_a_port_without_a_listener_is_another_programs() -> None:
    assert name_port_holder(find_free_port()) == "another program"
