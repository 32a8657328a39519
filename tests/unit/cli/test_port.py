import socket

import pytest

from sidecar.cli.errors import PortUnavailable
from sidecar.cli.port import check_port
from tests.command_line import CommandLine


def test_a_free_port_is_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    check_port("127.0.0.1", port, "Choose another.")


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"port {port} of 127.0.0.1 is in use.*\nHINT: Choose another."):
            check_port("127.0.0.1", port, "Choose another.")


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(PortUnavailable, match=r"cannot listen on port 9000 of 192\.0\.2\.1"):
        check_port("192.0.2.1", 9000, "Choose another.")


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_taken_port_ends_the_command_before_anything_is_loaded(
    command_line: CommandLine, command: str, tmp_path: object
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        directory = ["--data-dir", str(tmp_path)] if command == "demo" else []
        error = command_line.fail(command, "--port", port, *directory)
    assert f"port {port} of 127.0.0.1 is in use" in error
    assert f"sidecar {command} --port" in error
