"""`sidecar uninstall`"""

from __future__ import annotations

from typing import Annotated

import typer

from sidecar.cli.errors import warn
from sidecar.cli.database import find_database_url
from sidecar.cli.options import DatabaseUrl, Json
from sidecar.cli.output import make_console, print_json


def uninstall(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even while a sidecar is running on this database.")] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove schema `sidecar` and its triggers. Your vectors stay: columns, companion tables, indexes.

    Example: sidecar uninstall --yes
    """
    from sidecar.operations.operations import connect_to_schema
    from sidecar.operations.uninstallation import read_kept_vectors
    from sidecar.operations.uninstallation import uninstall as remove

    with connect_to_schema(find_database_url(database_url), warn) as connection:
        vectors = read_kept_vectors(connection)
        if not yes:
            typer.echo("This removes schema `sidecar`, with all watches, queues and ledgers.", err=True)
            typer.confirm(f"Remove it from database {connection.info.dbname}?", abort=True, err=True)
        with make_console().status("Removing …"):
            remove(connection, force=force)
    if as_json:
        print_json({"removed": True, "kept": vectors})
        return
    kept = [f"  {v.companion or v.relation}.{v.target}" for v in vectors]
    typer.echo("\n".join(["The sidecar is removed.", *(["These vectors stay:", *kept] if kept else [])]))
