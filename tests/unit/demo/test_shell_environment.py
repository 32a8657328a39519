"""The file that a shell sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.demo.shell_environment import shell_environment

URL = "postgresql://postgres:it's $HOME@127.0.0.1:15432/postgres"


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "dash"])
def test_every_shell_gets_the_same_variables_and_sourcing_twice_changes_nothing_more(
    shell: str, tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} on this machine")
    programs = tmp_path / "with space"
    programs.mkdir()
    (programs / "psql").write_text("#!/bin/sh\n")
    (programs / "psql").chmod(0o755)
    (tmp_path / "env").write_text(shell_environment(URL, "http://127.0.0.1:9001", programs))
    script = '. ./env && . ./env && printf \'%s\\n\' "$DATABASE_URL" "$SIDECAR_URL" "$PATH" && command -v psql'
    ended = subprocess.run(
        [program, "-c", script], cwd=tmp_path, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=True
    )
    url, service, path, psql = ended.stdout.splitlines()
    assert (url, service) == (URL, "http://127.0.0.1:9001")
    assert path.split(os.pathsep) == [str(Path(sys.executable).parent), "/nowhere", str(programs)]
    assert psql == str(programs / "psql")
    assert ended.stderr == ""
