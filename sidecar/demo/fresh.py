"""`--fresh`: a demo from the beginning, without the loss of anything that the demo did not make.

Made by the demo are the table `emoji`, its two watches, and the files of the directory. The table is known by its
comment (`mark_example` in demo.sql gives it to those of earlier demos). Everything else in the demo's Postgres is
the user's: it is listed, and deleted only with their consent.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import psycopg

from sidecar.demo.directory import DemoDirectory
from sidecar.demo.example import statement
from sidecar.embedded_postgres.cluster import stored_version
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.errors import DatabaseUnavailable, SidecarError

_LINES = 25


class FreshRefused(SidecarError):
    """`--fresh` would delete what the demo did not make."""


class Restart(Enum):
    """What `--fresh` recreates."""

    EVERYTHING = "the whole Postgres: it was deleted"
    EXAMPLE = "the example's table, among what stays"


@dataclass(frozen=True, slots=True)
class Foreign:
    """What the demo did not make, in the words of SQL. `separable`: it can stay while the demo's table is dropped."""

    names: Sequence[str]
    separable: bool

    def __str__(self) -> str:
        names = [f"  {name}" for name in self.names[:_LINES]]
        more = len(self.names) - _LINES
        return "\n".join([*names, *([f"  and {more} more"] if more > 0 else [])])


# Asks whether to delete all of it as well; None without a terminal to ask on.
AskToDelete: TypeAlias = Callable[[Foreign], bool | None]


def start_over(directory: DemoDirectory, version: str, ask: AskToDelete) -> Restart:
    """Deletes the demo's Postgres, unless it holds more than the demo made and `ask` answers no: then all stays.

    Postgres is stopped before and after. Raises FreshRefused, and has deleted nothing, if `ask` does not answer, or if
    the answer is no and the rest cannot stay.
    """
    foreign = _find_foreign(directory)
    delete_all = True if foreign is None else ask(foreign)
    if foreign is None or delete_all:
        EmbeddedPostgres(directory.postgres, version).delete_data()
        shutil.rmtree(directory.earlier_model, ignore_errors=True)
        return Restart.EVERYTHING
    can_stay = foreign.separable and stored_version(directory.postgres) == version
    if delete_all is None:
        raise FreshRefused(
            f"--fresh would delete what the demo did not make, from its Postgres in {directory.path}:\n{foreign}\n"
            "HINT: "
            + ("To keep that, and start over with the demo's table alone: --fresh --no. " if can_stay else "")
            + "To delete that too: --fresh --yes"
        )
    if not can_stay:
        raise FreshRefused(
            f"nothing was deleted: {_reason(foreign, directory, version)}.\n"
            "HINT: Start without --fresh, or begin in another directory: sidecar demo --data-dir DIR"
        )
    return Restart.EXAMPLE


def _reason(foreign: Foreign, directory: DemoDirectory, version: str) -> str:
    if not foreign.separable:
        return "what you added to the demo's own table would be lost with it"
    return f"that is in PostgreSQL {stored_version(directory.postgres)}, and the demo was to start with {version}"


def _find_foreign(directory: DemoDirectory) -> Foreign | None:
    """None if the demo made all that is there."""
    version = stored_version(directory.postgres)
    if version is None:
        return None
    try:
        with EmbeddedPostgres(directory.postgres, version) as postgres, psycopg.connect(postgres.url) as connection:
            return _read_foreign(connection)
    except (DatabaseUnavailable, psycopg.Error) as error:
        reason = str(error).strip().splitlines()[0]
        return Foreign([f"all that is in a PostgreSQL {version}; it cannot be looked into: {reason}"], separable=False)


def _read_foreign(connection: psycopg.Connection[tuple[Any, ...]]) -> Foreign | None:
    connection.execute(statement("mark_example"))
    objects = [_describe(name, size) for _, name, size in connection.execute(statement("foreign_objects")).fetchall()]
    parts: list[str] = []
    if connection.execute(statement("is_example")).fetchone() == (True,):
        parts += [name for _, name in connection.execute(statement("foreign_parts")).fetchall()]
        if connection.execute(statement("has_status")).fetchone() == (True,):
            parts += [name for (name,) in connection.execute(statement("foreign_watches")).fetchall()]
    return Foreign([*objects, *parts], separable=not parts) if objects or parts else None


def _describe(name: str, size_bytes: int | None) -> str:
    return name if size_bytes is None else f"{name} ({max(size_bytes // 1024, 1):,} KB)"
