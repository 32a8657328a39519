"""`sidecar verify`"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sidecar.cli.database import open_database
from sidecar.cli.errors import warn
from sidecar.cli.options import DatabaseUrl, Json, Table, Target
from sidecar.cli.output import echo, print_json, show_size, show_wait
from sidecar.errors import SchemaError
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    from sidecar.operations.verification import Verification, Verifier

_INTERVAL_S = 0.2


def verify(table: Table, target: Target = None, as_json: Json = False, database_url: DatabaseUrl = None) -> None:
    """Compare every row and vector with what was recorded.

    A running sidecar does it, and embeds what differs again.

    It finds contents changed with the triggers off and vectors overwritten. After Ctrl-C it continues.

    Example: sidecar verify products --target photo_embedding
    """
    with open_database(database_url, "worker") as operations:
        verification = _follow(operations.verify(table, target))
    if as_json:
        print_json(verification)
    else:
        echo(_describe(verification))


def _follow(verifier: Verifier) -> Verification:
    name = f"{verifier.relation}.{verifier.target}"
    has_warned = False
    with show_wait(f"Verifying {name} …") as tell:
        while True:
            read = verifier.read()
            if read is None:
                raise SchemaError(f"{name} is no longer watched")
            if read.is_finished:
                return read
            if not (read.is_served or has_warned):
                warn(f"{name}: {read.state}", "It is verified as soon as a sidecar works on it: sidecar serve")
                has_warned = True
            tell(f"Verifying {name}: {read.rows_seen} of {read.rows} rows, {read.found} differ …")
            time.sleep(_INTERVAL_S)


def _describe(verification: Verification) -> str:
    name = on_one_line(f"{verification.relation}.{verification.target}")
    looked = f"{verification.rows_seen} rows of {name} compared ({show_size(verification.bytes_seen)})"
    if verification.found == 0:
        return f"{looked}: all as recorded."
    return f"{looked}: {verification.found} differ, and are being embedded again."
