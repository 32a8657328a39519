"""Compiling for a user id that has no name and no home, as in a container started with --user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import open_directory

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

USER = 54321


def as_nameless_user() -> list[str]:
    """The start of a command; empty where this user cannot become another one."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    if all(directory.stat().st_mode & 0o001 for directory in Path(sys.base_prefix).parents):
        return command
    # Python is in root's home directory, where the compiler looks for its headers too.
    return [*command, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def compile_as_nameless_user(how: str) -> tuple[dict[str, Any], str]:
    with open_directory() as directory:
        directory.chmod(0o777)
        ended = subprocess.run(
            [*as_nameless_user(), sys.executable, "-m", "tests.model.acceleration.compiling_process", how],
            env={"PATH": os.environ["PATH"], "TMPDIR": str(directory), "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return result, str(directory)


def test_the_model_is_compiled_once_for_all_sizes_by_a_user_id_without_a_name() -> None:
    result, directory = compile_as_nameless_user("working")
    assert result["is_compiled"], result["messages"]
    assert result["largest_error"] < 1e-6
    assert result["messages"][-1].startswith("Compiled the model for texts in ")
    assert result["children"] == []
    if as_nameless_user():
        assert not result["is_named"]
        cache = f"{directory}/sidecar-compiled-{USER}"
        assert result["built_in"] == [cache, f"{cache}/triton"]


def test_without_a_compiler_the_model_runs_uncompiled_and_the_log_says_why() -> None:
    result, _ = compile_as_nameless_user("broken")
    assert not result["is_compiled"]
    (message,) = result["messages"]
    assert message.startswith("DEVICE_COMPILE=on: texts run uncompiled: ")
    assert "/nowhere/c++" in message or "compiler" in message.lower()
