import pytest

from sidecar.cli.errors import complain, warn
from sidecar.errors import ConfigurationError, DatabaseUnavailable, StatementRejected


def test_a_refused_statement_is_told_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(StatementRejected("table t has no primary key", "42P16", "Add one.")) == 1
    assert capsys.readouterr().err == "ERROR: table t has no primary key\nHINT: Add one.\n"


def test_wrong_settings_are_told_all_at_once_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(ConfigurationError(["LEASE_S='x': a number", "PORT='y': a number"])) == 2
    assert capsys.readouterr().err == "ERROR: LEASE_S='x': a number\nERROR: PORT='y': a number\n"


def test_a_password_in_an_error_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    complain(DatabaseUnavailable("no answer from postgresql://me:hunter2@host/db"))
    warn("retrying postgresql://me:hunter2@host/db", "password=hunter2")
    assert "hunter2" not in capsys.readouterr().err
