"""The settings that the demo overrides; all others come from the environment."""

from __future__ import annotations

from sidecar.config import Settings
from sidecar.model.checkpoints.local_directory import DEMO_MODEL_ID

DEMO_HOST = "127.0.0.1"
_SHUTDOWN_TIMEOUT_S = 5.0  # of the service; the other five of ten seconds are for Postgres


def demo_settings(settings: Settings, database_url: str) -> Settings:
    """`settings` with the demo's model and database, listening on this machine only, without keys."""
    values = {
        "log_level": "WARNING",  # few log lines between what the demo prints
        "shutdown_timeout_s": _SHUTDOWN_TIMEOUT_S,
        **settings.model_dump(exclude_unset=True),
        "vision_model_id": DEMO_MODEL_ID,
        "vision_size": None,
        "tta_crop_size": None,
        "enable_tta": True,
        "require_cuda": False,
        "database_url": database_url,
        "listen_database_url": None,
        "search_database_url": None,
        "ingest": True,
        "bind_host": DEMO_HOST,
        "api_keys": None,
        "api_keys_file": None,
        "allow_anonymous": False,
    }
    return Settings(**values)
