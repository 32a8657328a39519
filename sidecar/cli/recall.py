"""`sidecar recall`"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, Table, Target
from sidecar.cli.output import echo, print_json
from sidecar.cli.tables import print_table

if TYPE_CHECKING:
    from sidecar.operations.operations import RecallOf

_COLUMNS = ("value", "recall", "lowest", "queries", "index_ms", "exact_ms")
_LARGEST = 32768  # of ivfflat.probes; hnsw.ef_search ends at 1000


def recall(  # noqa: PLR0913 - one parameter for every option of the command
    table: Table,
    target: Target = None,
    k: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Rows of a search.")] = 10,
    sample: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Rows to take as queries.")] = 200,
    ef: Annotated[
        str | None,
        typer.Option(
            "--ef",
            metavar="A,B,…",
            help="Values of hnsw.ef_search, or ivfflat.probes, to compare. Default: the usual one and others.",
            show_default=False,
        ),
    ] = None,
    at_least: Annotated[float, typer.Option(metavar="SHARE", min=0, max=1, help="The recall that you want.")] = 0.95,
    max_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="End after about so long.")] = 60,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Measure how much of an exact search the index finds.

    Rows of the table are the queries. Each reads the whole table once, for the exact answer.

    Example: sidecar recall products --target photo_embedding --k 20
    """
    values = None if ef is None else _parse_values(ef)
    with open_database(database_url, "reader", table) as operations:
        found = operations.recall(table, target, k, sample, values, max_s)
    if as_json:
        print_json([asdict(line) for line in found])
        return
    print_table(_COLUMNS, [_as_row(line) for line in found])
    echo(_advice(found, at_least))


def _parse_values(text: str) -> list[int]:
    values = [part.strip() for part in text.split(",")]
    if not all(value.isdecimal() and 1 <= int(value) <= _LARGEST for value in values):
        message = f"{text!r} is not a list of numbers from 1 to {_LARGEST}, such as 40,100,200."
        raise typer.BadParameter(message, param_hint="--ef")
    return sorted({int(value) for value in values})


def _as_row(line: RecallOf) -> tuple[object, ...]:
    shares = f"{line.recall:.4f}", f"{line.lowest:.2f}"
    return line.ef, *shares, line.queries, f"{line.index_ms:.3g}", f"{line.exact_ms:.3g}"


def _advice(found: Sequence[RecallOf], at_least: float) -> str:
    if not found or not found[0].queries:
        return "The table holds no vectors yet."
    setting = found[0].setting
    enough = next((line for line in found if line.recall >= at_least), None)
    if setting is None:
        reached = f"With the settings of this session a recall of {at_least:g}"
        return f"{reached} is reached." if enough else f"{reached} is not reached. See the extension's own settings."
    if enough is None:
        larger = "a larger m or ef_construction" if setting == "hnsw.ef_search" else "the lists of the present rows"
        return f"None reaches {at_least:g}. Try larger values with --ef, or rebuild the index with {larger}."
    return f"set {setting} = {enough.ef}; is enough for a recall of {at_least:g}: {enough.index_ms:.3g} ms a search."
