"""The runtimes of foreign clients, which `make test-clients` installs apart from the sidecar's own packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_HOME = Path(__file__).parents[2] / ".venv" / "clients"
NODE_MODULES = _HOME / "node_modules"
# First in PATH, before the machine's own programs.
PROGRAMS = (_HOME / "bin", NODE_MODULES / ".bin")
_OLDEST_JAVA = 11  # the first that runs a source file, and has java.net.http

ENVIRONMENT = {
    "PYTHONPATH": "",
    "PYTHONWARNINGS": "default",
    # huggingface_hub obeys it for every address, even loopback.
    "HF_HUB_OFFLINE": "0",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "NO_COLOR": "1",
}


def _java_version() -> int:
    """The major version of `java`; 0 if there is none."""
    if shutil.which("javac") is None:
        return 0
    done = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    version = done.stdout.removeprefix("javac ").partition(".")[0].strip()
    return int(version) if version.isdigit() else 0


def find_obstacle(tool: str) -> str | None:
    """Why `tool` (python, node or java) cannot run here; None if it can."""
    if tool == "python":
        return None if (PROGRAMS[0] / "python").exists() else "the Python clients are not installed: make test-clients"
    if tool == "java":
        return None if _java_version() >= _OLDEST_JAVA else f"there is no JDK {_OLDEST_JAVA} or newer on this machine"
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node or npm is not on this machine"
    return None if NODE_MODULES.is_dir() else "the JavaScript clients are not installed: make test-clients"


def need(tool: str) -> None:
    """Skips the test if `tool` is missing; fails it with SIDECAR_TEST_CLIENTS=all."""
    reason = find_obstacle(tool)
    if reason is not None and os.environ.get("SIDECAR_TEST_CLIENTS") == "all":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
