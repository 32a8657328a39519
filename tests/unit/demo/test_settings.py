"""The settings that the demo overrides, and those that it takes from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from sidecar.config import Settings
from sidecar.demo.settings import demo_settings


def test_the_demo_overrides_model_and_database_and_keeps_the_rest() -> None:
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


def test_the_demo_listens_on_this_machine_only_and_needs_no_key() -> None:
    users = Settings(bind_host="0.0.0.0", api_keys=SecretStr("0123456789abcdef"), api_keys_file=Path("keys"))  # noqa: S104
    settings = demo_settings(users, "postgresql://demo/db")
    assert settings.bind_host == "127.0.0.1"
    assert (settings.api_keys, settings.api_keys_file, settings.allow_anonymous) == (None, None, False)


def test_the_demo_logs_warnings_only_by_default() -> None:
    assert demo_settings(Settings(), "postgresql://demo/db").log_level == "WARNING"
