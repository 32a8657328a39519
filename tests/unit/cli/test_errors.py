"""Errors and warnings as the command line prints them."""

import pytest

from sidecar.cli.errors import report_error, warn
from sidecar.errors import ConfigurationError, DatabaseUnavailable, SchemaError, StatementRejected


def test_a_rejected_statement_is_reported_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(StatementRejected("table t has no primary key", "42P16", "Add one.")) == 1
    assert capsys.readouterr().err == "ERROR: table t has no primary key\nHINT: Add one.\n"


def test_all_wrong_settings_are_reported_at_once_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(ConfigurationError(["LEASE_S='x': a number", "PORT='y': a number"])) == 2
    assert capsys.readouterr().err == "ERROR: LEASE_S='x': a number\nERROR: PORT='y': a number\n"


def test_passwords_in_errors_and_warnings_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(DatabaseUnavailable("no answer from postgresql://me:hunter2@host/db"))
    warn("retrying postgresql://me:hunter2@host/db", "password=hunter2")
    assert "hunter2" not in capsys.readouterr().err


def test_a_name_in_an_error_adds_no_line_and_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    name = '"a\x1b]0;b\x07\nHINT: rm -rf \x9b2J"'
    report_error(StatementRejected(f"there is no table {name}", "42P01", f"Did you mean {name}?"))
    report_error(StatementRejected(f"there is no table {name}", "42P01"))
    warn(f"table {name} is large", f"Analyse {name}")
    report_error(SchemaError(f"{name} is gone.\nHINT: sidecar migrate"))
    shown = '"a ]0;b  HINT: rm -rf  2J"'
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [f"ERROR: there is no table {shown}", f"HINT: Did you mean {shown}?", lines[0]]
    assert lines[3:5] == [f"WARNING: table {shown} is large", f"HINT: Analyse {shown}"]
    assert not any("\x1b" in line or "\x07" in line or "\x9b" in line for line in lines)
