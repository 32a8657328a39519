"""`sidecar bench`"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sidecar.cli.bar_chart import Bar, Panel, draw_chart, show_number
from sidecar.cli.completion import complete_column, complete_table
from sidecar.cli.database import find_database_url
from sidecar.cli.errors import warn
from sidecar.cli.options import DatabaseUrl, Json
from sidecar.cli.output import echo, print_json, show_duration, show_wait
from sidecar.cli.tables import hang, print_table
from sidecar.errors import InputError
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    from sidecar.cli.rates import Limit, Part, Rate
    from sidecar.model.exports.encoder import ExportedEncoder
    from sidecar.model.open_clip_encoder import OpenClipEncoder
    from sidecar.operations.planning.unmigrated import Contents
    from sidecar.settings import Settings

_TEXTS, _PICTURES = 256, 32
_NOT_MEASURED = "Writing the vectors is not measured: bench changes nothing. docs/benchmarks.md has its rates."


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured for rows of one kind. `source`: table and columns, None for the texts or pictures built in.

    `rows`: of the table, None without one. `unreadable`: pictures of the sample that were left out.
    """

    kind: str
    source: str | None
    rows: int | None
    sampled_rows: int
    unreadable: int
    views_per_row: float
    rates: Sequence[Rate]
    limit: Limit


def bench(  # noqa: PLR0913 - one parameter for every option of the command
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="A table to sample rows of, watched or not. Default: texts and pictures that come with sidecar.",
            show_default=False,
            autocompletion=complete_table,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="The columns, as for `watch --source`.",
            show_default=False,
            autocompletion=complete_column,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="How often each part is measured.")] = 5,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0.01, max=60, help="How long a part is measured in a round.")
    ] = 0.3,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the rates into this file.", show_default=False)
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Measure how fast the model is on this machine, with your rows.

    It only reads: some rows of the table, and the model that VISION_MODEL_ID names. `plan` estimates from such rates,
    this measures them: rows read, texts tokenised or pictures decoded, and the device by the size of its micro-batches;
    then it says which of them limits the rows per second. Run it while no sidecar uses the device.

    \b
    Examples:
      sidecar bench
      sidecar bench products photo --svg rates.svg
      VISION_MODEL_ID=demo REQUIRE_CUDA=0 sidecar bench products title brand --json
    """
    if table is not None and not source:
        raise typer.BadParameter("name the column, too: sidecar bench TABLE COLUMN", param_hint="SOURCE")
    if svg is not None:
        _check_writable(svg)
    from sidecar.config import load_settings

    settings = load_settings()
    with ExitStack() as stack:
        report = stack.enter_context(show_wait("Loading the model …"))
        samples = _sample(table, source or [], database_url, stack)
        encoder = _load(settings)
        benches = [asyncio.run(_measure(sample, encoder, settings, (rounds, seconds), report)) for sample in samples]
    device = f"{encoder.model_id}, on {encoder.device_name} in {encoder.precision}"
    if settings.encoder_backend != "torch":
        device = f"{device}, run by {settings.encoder_backend}"
    if svg is not None:
        _write_chart(svg, _draw(benches, device, rounds))
    if as_json:
        print_json(
            {
                "model": encoder.model_id,
                "device": encoder.device_name,
                "precision": encoder.precision,
                "backend": settings.encoder_backend,
                "rounds": rounds,
                "measured": [_as_object(each) for each in benches],
            }
        )
        return
    echo(on_one_line(device), "bold")
    for each in benches:
        _print(each, is_cpu=encoder.device_name == "cpu")
    typer.echo(_NOT_MEASURED)


def _check_writable(svg: Path) -> None:
    """Before minutes are spent on measuring. Raises typer.BadParameter."""
    folder = svg.absolute().parent
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}", param_hint="--svg")
    if svg.is_dir():
        raise typer.BadParameter(f"{svg} is a folder: name a file in it", param_hint="--svg")
    if not os.access(svg if svg.exists() else folder, os.W_OK):
        raise typer.BadParameter(f"{svg} cannot be written", param_hint="--svg")


def _write_chart(svg: Path, chart: str) -> None:
    """A disk that is full costs the file, not the figures."""
    try:
        svg.write_text(chart, encoding="utf-8")
    except OSError as error:
        warn(f"--svg {svg} cannot be written: {error.strerror}")


@dataclass(frozen=True, slots=True)
class _Sample:
    """Contents to measure with. `read` reads them from the database again, and returns how many they were."""

    kind: str
    values: list[str] | list[bytes]
    source: str | None = None
    rows: int | None = None
    read: Callable[[], int] | None = None


def _sample(table: str | None, source: list[str], database_url: str | None, stack: ExitStack) -> list[_Sample]:
    """Of the table; without one, a sample of each kind from the demo's emoji, which need no database."""
    if table is None:
        from sidecar.demo.emoji import read_emoji

        emoji = read_emoji()
        names = [f"{each.name}: {', '.join(each.keywords)}" for each in emoji[:_TEXTS]]
        return [_Sample("text", names), _Sample("image", [each.picture for each in emoji[:_PICTURES]])]
    from sidecar.operations.operations import WatchRequest
    from sidecar.operations.planning.unmigrated import read_again, sample_contents
    from sidecar.operations.session import connect_with_warnings

    connection = stack.enter_context(connect_with_warnings(find_database_url(database_url), warn, table=table))
    contents = sample_contents(connection, WatchRequest(table, source), {"text": _TEXTS, "image": _PICTURES})
    _check_filled(contents, source)
    name = f"{contents.table.name}.{' '.join(source)}"
    return [
        _Sample(contents.kind, contents.values, name, contents.table.rows, lambda: read_again(connection, contents))
    ]


def _check_filled(contents: Contents, source: list[str]) -> None:
    if not contents.values:
        columns = ", ".join(source)
        raise InputError(
            "nothing_to_measure",
            f"no sampled row of {contents.table.name} has anything in {columns}: there is nothing to measure with\n"
            "HINT: Name a column that is filled, or no table: `sidecar bench` has texts and pictures of its own.",
        )


def _load(settings: Settings) -> OpenClipEncoder | ExportedEncoder:
    from sidecar.config import set_openmp_defaults

    set_openmp_defaults()  # before torch is imported, as in the sidecar
    from sidecar.model.loading import load_encoder

    return load_encoder(settings)


async def _measure(
    sample: _Sample,
    encoder: OpenClipEncoder | ExportedEncoder,
    settings: Settings,
    extent: tuple[int, float],
    report: Callable[[str], None],
) -> Bench:
    """`extent`: rounds, and seconds of a part in a round."""
    from sidecar.cli.rates import find_limit, measure_in_rounds
    from sidecar.cpus import count_cpus

    report("Warming up …")
    parts, per_row, unreadable, pool = await _parts(sample, encoder, settings)
    try:
        rates = await measure_in_rounds(parts, *extent, report)
    finally:
        if pool is not None:
            await pool.close()
    return Bench(
        kind=sample.kind,
        source=sample.source,
        rows=sample.rows,
        sampled_rows=len(sample.values),
        unreadable=unreadable,
        views_per_row=per_row,
        rates=rates,
        limit=find_limit(_rows_per_s(rates, per_row, min(settings.decode_processes, count_cpus()))),
    )


async def _parts(
    sample: _Sample, encoder: OpenClipEncoder | ExportedEncoder, settings: Settings
) -> tuple[list[Part], float, int, Any]:
    """The parts, the views of a row, the pictures that cannot be read, and the decoder process, which is to be closed.

    Texts have no such process.
    """
    from sidecar.batching.encoder import framing_of
    from sidecar.cli.rates import Part, picture_parts, text_parts
    from sidecar.pictures.decoder.pool import DecoderPool
    from sidecar.pictures.decoder.settings import DecoderSettings

    parts = [Part("reading rows", "rows/s", _reading(sample.read))] if sample.read is not None else []
    texts = [value for value in sample.values if isinstance(value, str)]
    if sample.kind == "text":
        return parts + text_parts(encoder, texts, settings.batch_max_views), 1.0, 0, None
    one = settings.model_copy(update={"decode_processes": 1})
    pool = DecoderPool(DecoderSettings.from_settings(one, encoder.view_size, framing_of(encoder)))
    try:
        await pool.start()
        pictures = [bytes(value) for value in sample.values if not isinstance(value, str)]
        more, per_row, unreadable = await picture_parts(encoder, pool, pictures, settings.batch_max_views)
    except BaseException:
        await pool.close()
        raise
    return parts + more, per_row, unreadable, pool


def _reading(read: Callable[[], int]) -> Callable[[], Any]:
    async def step() -> int:
        return max(read(), 1)

    return step


def _rows_per_s(rates: Sequence[Rate], views_per_row: float, decoders: int) -> dict[str, float]:
    """What each part allows, by its name in the output. The device: with its best micro-batch.

    `decoders`: processes that decode at the same time, each on a core.
    """
    allowed: dict[str, float] = {}
    for rate in rates:
        if rate.micro_batch is not None:
            allowed["the device"] = max(allowed.get("the device", 0.0), rate.median / views_per_row)
        elif rate.unit == "pictures/s":
            allowed[f"decoding on {decoders} cores" if decoders > 1 else "decoding on one core"] = (
                rate.median * decoders
            )
        else:
            allowed[rate.part] = rate.median
    return allowed


def _print(bench: Bench, *, is_cpu: bool) -> None:
    what = {"text": "texts", "image": "pictures"}[bench.kind]
    views = "" if bench.kind == "text" else f", {bench.views_per_row:.3g} views each"
    source = f"{bench.source}: " if bench.source else "built in: "
    typer.echo()
    echo(on_one_line(f"{source}{bench.sampled_rows} {what}{views}"))
    columns = ("part", "median", "least", "greatest", "unit")
    rows = [
        (rate.part, *map(show_number, (rate.median, min(rate.rounds), max(rate.rounds))), rate.unit)
        for rate in bench.rates
    ]
    print_table(columns, rows)
    found = f"{show_number(bench.limit.rows_per_s)} rows/s; {bench.limit.part} is the limit"
    echo(hang("    rate    ", found), "bold")
    if bench.unreadable:
        left_out = f"{bench.unreadable} of the {bench.sampled_rows} cannot be read as pictures, and were left out"
        typer.echo(hang("    note    ", left_out))
    if is_cpu and bench.kind == "image":
        typer.echo(hang("    note    ", "model and decoders share the cores: expect fewer rows when both work"))
    if bench.rows:
        time_text = show_duration(bench.rows / bench.limit.rows_per_s)
        typer.echo(hang("    table   ", f"{bench.rows:,} rows, {time_text}"))


def _as_object(bench: Bench) -> dict[str, object]:
    return {
        "kind": bench.kind,
        "source": bench.source,
        "rows": bench.rows,
        "sampled_rows": bench.sampled_rows,
        "unreadable": bench.unreadable,
        "views_per_row": bench.views_per_row,
        "parts": [
            {
                "part": rate.part,
                "unit": rate.unit,
                "micro_batch": rate.micro_batch,
                "median": rate.median,
                "rounds": rate.rounds,
            }
            for rate in bench.rates
        ],
        "rows_per_s": bench.limit.rows_per_s,
        "limited_by": bench.limit.part,
    }


def _draw(benches: Sequence[Bench], device: str, rounds: int) -> str:
    panels = []
    for bench in benches:
        by_unit: dict[str, list[Bar]] = {}
        for rate in bench.rates:
            bar = Bar(rate.part, rate.median, (min(rate.rounds), max(rate.rounds)))
            by_unit.setdefault(rate.unit, []).append(bar)
        panels += [Panel(unit, bars) for unit, bars in by_unit.items()]
    return draw_chart(device, panels, f"Medians of {rounds} rounds; whiskers: least and greatest.")
