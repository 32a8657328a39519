"""`sidecar migrate`"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from sidecar.cli.database import find_direct_url
from sidecar.cli.options import DatabaseUrl, Json
from sidecar.cli.output import make_console, print_json


def migrate(
    revision: Annotated[
        str,
        typer.Option(help="Where to go: `head`, a revision such as 0016, or `base`, which removes schema `sidecar`."),
    ] = "head",
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring schema `sidecar` of the database up to date. Creates the extension pgvector where it is missing.

    It goes past a pooler: LISTEN_DATABASE_URL is used where it is set.

    Example: DATABASE_URL=postgresql://me:secret@localhost/shop sidecar migrate
    """
    from sidecar.postgres.address import read_address
    from sidecar.postgres.migrations import current_revision
    from sidecar.postgres.migrations import migrate as run_migrations
    from sidecar.postgres.operations import connect_as_user

    url = find_direct_url(database_url)
    with connect_as_user(url):  # a clear message before Alembic begins
        pass
    address = read_address(url.get_secret_value()).conninfo()
    began = time.monotonic()
    with make_console().status("Migrating …"):
        before = current_revision(address)
        run_migrations(address, revision)
        after = current_revision(address)
    if as_json:
        print_json({"before": before, "after": after, "seconds": round(time.monotonic() - began, 3)})
    elif before == after:
        typer.echo(f"Nothing to do: schema `sidecar` is at revision {after or 'base'}.")
    else:
        typer.echo(
            f"Schema `sidecar`: {before or 'nothing'} → {after or 'removed'} in {time.monotonic() - began:.1f} s."
        )
