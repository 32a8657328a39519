"""Debian's chromium, and axe-core, which `make test-browser` installs apart from the sidecar's own packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

AXE = Path(__file__).parents[2] / ".venv/browser/node_modules/axe-core/axe.min.js"


def find_chromium() -> str | None:
    """Its path; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def arguments() -> list[str]:
    """A browser's sandbox does not work as root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []
