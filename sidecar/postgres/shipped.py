"""Files that ship with the package beside its modules: migrations and SQL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import sidecar
from sidecar.errors import SchemaError

PACKAGE = Path(sidecar.__file__).parent


def migrations_directory() -> Path:
    """The directory with Alembic's env.py and versions/."""
    return _locate("_migrations", "migrations")


def sql_directory() -> Path:
    """The directory with the SQL files that migrations run."""
    return _locate("_sql", "sql")


def head_revision() -> str:
    """The revision this package's code is written for. Raises SchemaError where no migrations are installed."""
    revisions = [path.name.partition("_")[0] for path in (migrations_directory() / "versions").glob("[0-9]*_*.py")]
    if not revisions:
        raise SchemaError(f"no migrations in {migrations_directory()}: the installation is incomplete")
    return max(revisions)


def read_code() -> list[str]:
    """The files of sql/code in the order in which they run: all functions and views of schema `sidecar`."""
    return [path.read_text(encoding="utf-8") for path in sorted((sql_directory() / "code").glob("*.sql"))]


def code_digest() -> str:
    """SHA-256 of the files of sql/code, as hex."""
    return hashlib.sha256("".join(read_code()).encode()).hexdigest()


def describe_old_schema(revision: str | None) -> str:
    """Why this package cannot work on a schema of that `revision`; None: the row with the revision is missing."""
    if revision is None:
        return "the tables of schema `sidecar` are there without their rows, as after a restore of the schema alone"
    return f"the schema `sidecar` is at {revision}, this version needs {head_revision()}"


def _locate(installed_name: str, checkout_name: str) -> Path:
    """A wheel carries the directory inside the package; a checkout has it beside the package."""
    installed = PACKAGE / installed_name
    return installed if installed.is_dir() else PACKAGE.parent / checkout_name
