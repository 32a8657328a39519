"""`sidecar plan`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.completion import complete_column
from sidecar.cli.database import find_database_url
from sidecar.cli.errors import EXIT_FINDINGS, warn
from sidecar.cli.index_memory import describe_index_memory
from sidecar.cli.options import AnyTable, DatabaseUrl, Json
from sidecar.cli.output import echo, print_json, show_duration, show_size, show_wait
from sidecar.cli.tables import hang
from sidecar.cli.watch import Kind, Storage
from sidecar.errors import SchemaError
from sidecar.operations.planning.costs import OTHER_INDEX
from sidecar.operations.planning.estimate import describe_long_texts
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    from sidecar.operations.operations import WatchRequest
    from sidecar.operations.planning.plan import Plan
    from sidecar.operations.planning.server_memory import ServerMemory
    from sidecar.operations.planning.survey import Survey

_LONG_SWEEP_S = 60.0  # that are worth a line


def plan(  # noqa: PLR0913 - one parameter for every option of the command
    table: AnyTable,
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="The columns, as for `watch --source`.",
            show_default=False,
            autocompletion=complete_column,
        ),
    ],
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The vector column.", show_default=False)] = None,
    kind: Annotated[Kind | None, typer.Option(help="Default: by the column's type.")] = None,
    companion: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Keep the vectors in this table.", show_default=False)
    ] = None,
    index: Annotated[
        str, typer.Option(metavar="INDEX", help="As for `watch --index`. Only HNSW without options is estimated.")
    ] = "halfvec",
    storage: Annotated[
        Storage | None,
        typer.Option(help="Type of the vector column; halfvec takes half the space.", show_default=False),
    ] = None,
    dimensions: Annotated[
        int, typer.Option(metavar="N", min=1, max=16000, help="Length of the model's vectors.")
    ] = 1152,
    views_per_s: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            min=0.001,
            help="Texts or picture views that the device does per second. Default: as measured by running sidecars.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Estimate what watching a table takes: time, disk, refusals.

    Nothing is changed.

    It only reads, and also works before `sidecar migrate`. Rows, bytes and picture sizes of a large table are estimated
    from a sample. Exit code: 3 if `watch` would refuse, 1 if there is nothing to look at: no such table or column, or
    one of another type.

    \b
    Examples:
      sidecar plan products photo
      sidecar plan products title brand --views-per-s 2000 --json
    """
    from sidecar.operations.operations import WatchRequest

    request = WatchRequest(table, source, target, kind, companion, index, None, dimensions, storage=storage)
    found = _plan(request, views_per_s, database_url)
    if as_json:
        print_json(found.facts())
    else:
        _print_plan(found)
    if found.survey.refusal is not None:
        raise typer.Exit(EXIT_FINDINGS)


def _plan(request: WatchRequest, views_per_s: float | None, database_url: str | None) -> Plan:
    from sidecar.config import load_settings
    from sidecar.operations.planning.plan import DEFAULT_NATIVE_SIZE, Assumptions, make_plan
    from sidecar.pictures.decode import read_size
    from sidecar.pictures.views.settings import ViewSettings

    prospect, server = _survey(request, database_url)
    settings = load_settings()
    assumptions = Assumptions(
        settings.vision_model_id,
        request.dimensions,
        ViewSettings.from_settings(settings, DEFAULT_NATIVE_SIZE),
        request.companion is not None,
        views_per_s,
    )
    sizes = [size for size in map(read_size, prospect.sample.heads) if size is not None]
    return make_plan(prospect, sizes, server, assumptions)


def _survey(request: WatchRequest, database_url: str | None) -> tuple[Survey, ServerMemory]:
    from sidecar.operations.planning.server_memory import read_memory
    from sidecar.operations.planning.survey import survey
    from sidecar.operations.planning.unmigrated import survey_unmigrated
    from sidecar.operations.session import connect_with_warnings, require_schema

    with (
        connect_with_warnings(find_database_url(database_url), warn, table=request.table) as connection,
        show_wait(f"Looking at {request.table} …"),
    ):
        memory = read_memory(connection)
        try:
            require_schema(connection)
        except SchemaError:
            return survey_unmigrated(connection, request), memory
        return survey(connection, request), memory


def _print_plan(found: Plan) -> None:
    prospect, expected = found.survey, found.expected
    about = "about " if prospect.table.estimated else ""
    facts = {
        "rows": f"{about}{prospect.table.rows:,}, of which {expected.rows_to_embed:,} have something to embed",
        "source": f"{show_size(expected.source_bytes)} (from a sample of {len(prospect.sample.sizes):,} rows)",
        "views": f"{expected.views:,}: {expected.views_per_row:.3g} a row" + _describe_sizes(found),
        "device": "\n".join(_describe_device(found)),
        "index": "not estimated, nor in what follows: only HNSW without options is"
        if prospect.index == OTHER_INDEX
        else f"{show_size(expected.index_bytes)}, built in {show_duration(expected.index_build_s)}",
        "disk": f"{show_size(expected.disk_bytes)} more: vectors {show_size(expected.vector_bytes)}, index "
        f"{show_size(expected.index_bytes)}, ledger {show_size(expected.ledger_bytes)}, row versions "
        f"{show_size(expected.rewritten_bytes)}. Keep {show_size(expected.headroom_bytes)} free to rebuild the index. "
        f"WAL of the first filling: {show_size(expected.wal_bytes)}",
    }
    if found.memory is not None and expected.rows_to_embed > 0:
        facts |= describe_index_memory(expected, found.memory)
    if expected.sweep_s >= _LONG_SWEEP_S:
        facts["sweep"] = f"{show_duration(expected.sweep_s)} for each pass over the table"
    echo(on_one_line(f"{prospect.table.name}.{prospect.target} ({prospect.kind})"))
    for name, fact in facts.items():
        for index, line in enumerate(fact.split("\n")):
            typer.echo(hang(f"    {'' if index else name:<8}", line))
    if prospect.kind == "text" and (long_texts := describe_long_texts(prospect.sample.sizes)) is not None:
        echo(hang(f"    {'texts':<8}", long_texts), "yellow")
    if not prospect.is_migrated:
        more = "run it again after `sidecar migrate` to learn whether `watch` would refuse anything else"
        typer.echo(hang("    checks  ", f"the primary key, types and pgvector; {more}"))
    if prospect.refusal is not None:
        typer.echo(hang("    REFUSED ", prospect.refusal.message))
        typer.echo(hang("    hint    ", prospect.refusal.hint or ""))


def _describe_sizes(found: Plan) -> str:
    from sidecar.operations.planning.plan import DEFAULT_PICTURE_SIZE

    if found.survey.kind == "text":
        return ""
    if found.sampled_pictures == 0:
        width, height = DEFAULT_PICTURE_SIZE
        return f" (assuming {width} × {height}: no sampled picture's size could be read)"
    return f" (the sizes of {found.sampled_pictures:,} sampled pictures could be read)"


def _describe_device(found: Plan) -> list[str]:
    kind, expected, views_per_s = found.survey.kind, found.expected, found.views_per_s
    if expected.views == 0:
        return ["nothing to embed yet"]
    if expected.device_s is not None and views_per_s is not None:
        return [f"{show_duration(expected.device_s)} at {_describe_rate(kind, views_per_s)}"]
    unknown = (
        "unknown: no running sidecar has measured its rate yet; give --views-per-s, as `sidecar bench` measures it"
    )
    if not found.devices:
        return [unknown]
    makers = {"sidecar": "measured by us", "timm": "measured by timm"}
    return [
        unknown,
        "With the default model, from measurements elsewhere (docs/benchmarks.md):",
        *(
            f"  {show_duration(each.device_s)} on {each.device} at {_describe_rate(kind, each.views_per_s)}, "
            f"{makers[each.measured_by]}"
            for each in found.devices
        ),
    ]


def _describe_rate(kind: str, per_s: float) -> str:
    return f"{per_s:{',.0f' if per_s >= 10 else '.2g'}} {'texts' if kind == 'text' else 'views'}/s"
