"""The demo's data directory: where it is, its lock, and what it keeps."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.demo.directory import choose_directory, open_directory, write_private
from sidecar.errors import ConfigurationError, DatabaseUnavailable


def test_the_default_directory_is_one_that_roots_postgres_can_enter(
    tmp_path: Path, open_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(open_tmp_path)
    assert choose_directory() == open_tmp_path / ".demo"
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    assert choose_directory() == (Path("/var/lib/sidecar-demo") if os.geteuid() == 0 else tmp_path / ".demo")


def test_a_second_demo_on_the_same_directory_is_refused_with_the_process_id(tmp_path: Path) -> None:
    with (
        open_directory(tmp_path / "data"),
        pytest.raises(
            DatabaseUnavailable, match=rf"\(process {os.getpid()}\) is already running on .*\nHINT: .*--data-"
        ),
        open_directory(tmp_path / "data"),
    ):
        pass
    with open_directory(tmp_path / "data"):
        pass


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="holds files of another program"), open_directory(tmp_path):
        pass
    assert (tmp_path / "model" / "thesis.txt").exists()


def test_a_path_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigurationError, match="cannot be used: Not a directory"),
        open_directory(tmp_path / "file/x"),
    ):
        pass


def test_only_its_owner_can_read_the_files_with_the_password(tmp_path: Path) -> None:
    with open_directory(tmp_path / "data") as directory:
        directory.url_file.touch(mode=0o644)
        write_private(directory.url_file, "postgresql://postgres:secret@host/db\n")
        assert directory.url_file.read_text() == "postgresql://postgres:secret@host/db\n"
        assert stat.S_IMODE(directory.url_file.stat().st_mode) == 0o600
        assert {path.name for path in directory.path.iterdir()} == {"demo.lock", "database_url"}


@pytest.mark.parametrize("damage", ["", "x", "0", "70000"])
def test_the_directory_keeps_the_port_and_a_damaged_file_is_none(tmp_path: Path, damage: str) -> None:
    with open_directory(tmp_path / "data") as directory:
        assert directory.kept_port is None
        directory.keep_port(15433)
    with open_directory(tmp_path / "data") as directory:
        assert directory.kept_port == 15433
        (directory.path / "postgres_port").write_text(damage)
        assert directory.kept_port is None
