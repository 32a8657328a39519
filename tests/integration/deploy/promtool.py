"""promtool, Prometheus' own checker, if it is installed: Debian has it in the package prometheus."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAM = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROGRAM is None, reason="promtool is not installed")


def promtool(arguments: Sequence[str], directory: Path) -> None:
    """Runs promtool; fails with its output if it reports errors."""
    assert PROGRAM is not None
    ended = subprocess.run([PROGRAM, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
