"""Models in local directories, as VISION_MODEL_ID names them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

LOCAL_PREFIX = "local-dir:"
DEMO_MODEL_ID = "demo"

_DEMO_DIRECTORY = Path(__file__).parents[2] / "demo" / "model"


def find_local_directory(model_id: str) -> Path | None:
    """The folder of `local-dir:/path`, or of the small model in this package for `demo`; None for other names."""
    if model_id == DEMO_MODEL_ID:
        return _DEMO_DIRECTORY
    if model_id.startswith(LOCAL_PREFIX):
        return Path(model_id.removeprefix(LOCAL_PREFIX)).expanduser()
    return None
