"""Errors and warnings as the command line prints them."""

import pytest

from sidecar.cli.errors import report_error, warn
from sidecar.errors import ConfigurationError, DatabaseUnavailable, StatementRejected


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
