"""Ctrl-C at any time of a demo's start: one is enough, a second is harmless, and no traceback is shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.demo_process import sidecar_command
from tests.e2e.terminal import Terminal
from tests.ports import find_free_port
from tests.servers import open_directory

_INTERRUPTED_IMPORT = """
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from sidecar.cli import main
main()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_directory() as parent:
        yield parent / "data"


def test_ctrl_c_during_the_imports_prints_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", _INTERRUPTED_IMPORT], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("step", "times"), [("Postgres 18 with pgvector", 1), ("Table `emoji`", 2), ("Loading the model", 2)]
)
def test_ctrl_c_during_a_step_ends_the_demo_in_order(data_dir: Path, step: str, times: int) -> None:
    port = str(find_free_port())
    command = [sidecar_command(), "demo", "--port", port, "--data-dir", str(data_dir), "--postgres", "18"]
    with Terminal(command) as terminal:
        terminal.await_output(step)
        for _ in range(times):
            terminal.press_ctrl_c()
        assert terminal.await_end() == 0, terminal.output
    assert f"Stopped. The data stays in {data_dir}." in terminal.output
    assert "Traceback" not in terminal.output
    assert "WARNING" not in terminal.output
    assert not (data_dir / "postgres" / "cluster" / "postmaster.pid").exists(), "Postgres was not shut down"
