"""deploy/systemd: units that systemd accepts, and that agree with what the process does and with docs/systemd.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.cli.program import make_program
from sidecar.process_exit import EXIT_CONFIGURATION, EXIT_FAILURE
from sidecar.settings import Settings
from tests.named_tests import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
PAGE = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")


def _settings(unit: Path) -> dict[str, str]:
    """The last value of each key of a unit."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """With a program that exists here in place of theirs."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/sidecar/bin/sidecar", "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    copies = sorted(map(str, tmp_path.iterdir()))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_process_that_a_new_one_cannot_replace_is_not_restarted(unit: Path) -> None:
    settings = _settings(unit)
    assert settings["Restart"] == "on-failure"
    assert settings["RestartPreventExitStatus"] == str(EXIT_CONFIGURATION)
    assert f"| {EXIT_FAILURE} |" in PAGE
    assert f"| {EXIT_CONFIGURATION} |" in PAGE


def test_a_process_that_stops_in_time_is_not_killed() -> None:
    timeout_s = Settings.model_fields["shutdown_timeout_s"].default
    assert float(_settings(ROOT / "deploy" / "systemd" / "sidecar.service")["TimeoutStopSec"]) >= 2 * timeout_s


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_exists(unit: Path) -> None:
    program, command = _settings(unit)["ExecStart"].split()
    assert program == "/opt/sidecar/bin/sidecar"
    assert command in {
        registered.callback.__name__ for registered in make_program().registered_commands if registered.callback
    }


def test_the_page_names_settings_that_exist() -> None:
    blocks = re.findall(r"^```properties\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {name.lower() for block in blocks for name in re.findall(r"^(\w+)=", block, re.MULTILINE)}
    assert len(blocks) == 2
    assert names <= set(Settings.model_fields)
