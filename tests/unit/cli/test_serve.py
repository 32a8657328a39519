"""`sidecar serve`: the settings from options and environment, and the check of the port."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from sidecar.cli.errors import PortUnavailable
from sidecar.cli.serve import check_port, load_settings_with
from tests.command_line import CommandLine
from tests.ports import find_free_port


def test_an_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_PORT", "9100")
    monkeypatch.setenv("LEASE_S", "30")
    settings = load_settings_with(port=9200, database_url="postgresql://host/db")
    assert (settings.bind_port, settings.lease_s) == (9200, 30)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://host/db"
    assert load_settings_with(port=None).bind_port == 9100


def test_the_root_path_option_is_validated_like_the_variable(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOT_PATH", "/inner")
    assert load_settings_with(port=None).root_path == "/inner"
    assert load_settings_with(port=None, root_path="/sidecar").root_path == "/sidecar"
    outcome = command_line("serve", "--root-path", "no path")
    assert outcome.code == 2
    assert outcome.stderr == "ERROR: ROOT_PATH='no path': a path such as /sidecar\n"


def test_an_option_overrides_an_address_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://elsewhere/db")
    for file in (tmp_path / "url", tmp_path / "missing"):
        monkeypatch.setenv("DATABASE_URL_FILE", str(file))
        settings = load_settings_with(port=None, database_url="postgresql://host/db")
        assert settings.database_url == SecretStr("postgresql://host/db")


def test_wrong_settings_end_serve_with_code_2_and_a_line_each(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEASE_S", "soon")
    monkeypatch.setenv("ENABLE_TTA", "maybe")
    outcome = command_line("serve")
    assert outcome.code == 2
    assert [line.split("=")[0] for line in outcome.stderr.splitlines()] == ["ERROR: ENABLE_TTA", "ERROR: LEASE_S"]


def test_a_database_url_of_another_scheme_is_refused_without_its_password(command_line: CommandLine) -> None:
    error = command_line.fail("status", "--database-url", "mysql://me:hunter2@host/db", code=2)
    assert "DATABASE_URL='mysql://***'" in error
    assert "hunter2" not in error


def test_a_free_port_passes_the_check() -> None:
    port = find_free_port()
    check_port("127.0.0.1", port, "Choose another.")


def test_a_taken_port_is_reported_with_the_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"port {port} of 127.0.0.1 is in use.*\nHINT: Choose another."):
            check_port("127.0.0.1", port, "Choose another.")


def test_an_address_of_another_machine_is_reported() -> None:
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
