"""How the command line, the environment and the demo's own wishes become one Settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from sidecar.cli.serve import load_settings_with
from sidecar.config import Settings
from sidecar.demo.settings import demo_settings
from tests.command_line import CommandLine


def test_an_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_PORT", "9100")
    monkeypatch.setenv("LEASE_S", "30")
    settings = load_settings_with(port=9200, database_url="postgresql://host/db")
    assert (settings.bind_port, settings.lease_s) == (9200, 30)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://host/db"
    assert load_settings_with(port=None).bind_port == 9100


def test_the_root_path_may_be_an_option_and_is_checked_like_the_variable(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOT_PATH", "/inner")
    assert load_settings_with(port=None).root_path == "/inner"
    assert load_settings_with(port=None, root_path="/sidecar").root_path == "/sidecar"
    outcome = command_line("serve", "--root-path", "no path")
    assert outcome.code == 2
    assert outcome.stderr == "ERROR: ROOT_PATH='no path': a path such as /sidecar\n"


def test_an_option_goes_before_an_address_in_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_a_database_url_of_another_kind_is_refused_without_its_password(command_line: CommandLine) -> None:
    error = command_line.fail("status", "--database-url", "mysql://me:hunter2@host/db", code=2)
    assert "DATABASE_URL='mysql://***'" in error
    assert "hunter2" not in error


def test_the_demo_sets_its_model_and_database_and_leaves_the_rest() -> None:
    users = Settings(
        database_url=SecretStr("postgresql://mine/db"),
        listen_database_url=SecretStr("postgresql://mine/db"),
        ingest=False,
        require_cuda=True,
        enable_tta=False,
        vision_size=384,
        lease_s=30,
        log_level="DEBUG",
    )
    settings = demo_settings(users, "postgresql://demo/db")
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://demo/db"
    assert settings.listen_database_url is None
    assert settings.vision_model_id == "demo"
    assert (settings.ingest, settings.require_cuda, settings.enable_tta, settings.vision_size) == (
        True,
        False,
        True,
        None,
    )
    assert (settings.lease_s, settings.log_level) == (30, "DEBUG")


def test_the_demo_stays_on_this_machine_and_asks_for_no_key() -> None:
    users = Settings(bind_host="0.0.0.0", api_keys=SecretStr("0123456789abcdef"), api_keys_file=Path("keys"))  # noqa: S104
    settings = demo_settings(users, "postgresql://demo/db")
    assert settings.bind_host == "127.0.0.1"
    assert (settings.api_keys, settings.api_keys_file, settings.allow_anonymous) == (None, None, False)


def test_the_demo_is_quiet_unless_the_user_says_otherwise() -> None:
    assert demo_settings(Settings(), "postgresql://demo/db").log_level == "WARNING"
