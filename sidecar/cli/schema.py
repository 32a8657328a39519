"""`sidecar migrate` and `sidecar uninstall`"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import find_direct_url, open_database
from sidecar.cli.options import DatabaseUrl, Json
from sidecar.cli.output import echo, print_json, show_wait
from sidecar.cli.watch import describe_remains

if TYPE_CHECKING:
    from sidecar.operations.restored_schema import RestoredSchema


def migrate(
    revision: Annotated[
        str,
        typer.Option(help="Where to go: `head`, a revision such as 0016, or `base`, which removes schema `sidecar`."),
    ] = "head",
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring schema `sidecar` of the database up to date. Creates the extension pgvector where it is missing.

    Each call is one transaction: if it fails, nothing is changed. A schema that was restored without its rows is
    repaired. It bypasses a pooler: LISTEN_DATABASE_URL is used if it is set.

    Example: DATABASE_URL=postgresql://me:secret@localhost/shop sidecar migrate
    """
    from sidecar.operations.migrations import current_revision, head_revision
    from sidecar.operations.migrations import migrate as run_migrations
    from sidecar.operations.session import connect_as_user

    url = find_direct_url(database_url)
    with connect_as_user(url):  # a clear message before Alembic begins
        pass
    address = url.get_secret_value()
    began = time.monotonic()
    with show_wait("Migrating …"):
        before = current_revision(address)
        migrated = run_migrations(address, revision)
        after = current_revision(address)
    seconds = time.monotonic() - began
    if as_json:
        restored = migrated.restored
        print_json(
            {
                "before": before,
                "after": after,
                "seconds": round(seconds, 3),
                "code_replaced": migrated.code_replaced,
                "taken_up": None if restored is None else asdict(restored),
            }
        )
        return
    if migrated.restored is not None:
        echo(_describe_restored(migrated.restored))
    if before != after:
        echo(f"Schema `sidecar`: {before or 'nothing'} → {after or 'removed'} in {seconds:.1f} s.")
    elif migrated.code_replaced:
        echo(f"Schema `sidecar` stays at revision {after}; its functions and views are this version's now.")
    else:
        newer = " A newer version migrated it; this one works on it." if (after or "") > head_revision() else ""
        echo(f"Nothing to do: schema `sidecar` is at revision {after or 'base'}.{newer}")


def _describe_restored(restored: RestoredSchema) -> str:
    lines = []
    if restored.revision is not None:
        lines.append(f"The tables of {restored.revision} were there without their rows, as a restore leaves them.")
    if restored.watch_ids:
        numbers = ", ".join(map(str, restored.watch_ids))
        lines.append(f"Removed queues and triggers without a watch (numbers {numbers}); watch their tables again.")
    return " ".join(lines)


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do it even while a sidecar is running on this database.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove schema `sidecar` and its triggers. Your vectors stay: columns, companion tables, indexes.

    What remains is listed with the statement that removes it.

    Example: sidecar uninstall --yes
    """
    with open_database(database_url, "installer") as operations:
        remains = operations.remains()
        if not yes:
            typer.echo("This removes schema `sidecar`, with all watches, queues and ledgers.", err=True)
            typer.confirm(f"Remove it from database {operations.database_name}?", abort=True, err=True)
        with show_wait("Removing …"):
            operations.uninstall(force=force)
    if as_json:
        print_json({"removed": True, "remains": remains})
        return
    echo(f"The sidecar is removed. What remains, and how to remove it:\n{describe_remains(remains)}")
