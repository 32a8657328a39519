"""`make bench`: measures the figures of docs/benchmarks.md, prints them as a table and writes them as JSON."""

from __future__ import annotations

import argparse
import logging
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.database.old_snapshot import measure_old_snapshot
from benchmarks.database.queue_cycle import measure_queue_cycle
from benchmarks.database.triggers import measure_triggers
from benchmarks.database.writers import measure_writers
from benchmarks.figure import Figure
from benchmarks.ingest.lag import measure_lag
from benchmarks.ingest.live_changes import measure_live
from benchmarks.ingest.long_texts import measure_long_texts
from benchmarks.ingest.many_watches import measure_many_watches
from benchmarks.ingest.pipeline import measure_pipeline
from benchmarks.ingest.takeover import measure_takeover
from benchmarks.scratch import scratch_server
from benchmarks.serving.scale import FULL
from benchmarks.serving.serving import measure_serving
from tests.servers import Server

PARTS = (
    "queue",
    "triggers",
    "writers",
    "snapshot",
    "lag",
    "live",
    "takeover",
    "watches",
    "pipeline",
    "texts",
    "serving",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures every figure of docs/benchmarks.md on an embedded Postgres.")
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"which of: {', '.join(PARTS)}; default: all")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/figures.json"), help="where the figures are written"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with scratch_server() as server:
        hardware = _hardware(server)
        figures = {part: _measure(part, server) for part in arguments.parts}
    _print(hardware, [figure for part in figures.values() for figure in part])
    report = {"hardware": hardware, "figures": _with_other_parts(arguments.json, figures)}
    arguments.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def _measure(part: str, server: Server) -> list[Figure]:
    measures: Mapping[str, Callable[[], list[Figure]]] = {
        "queue": lambda: uvloop.run(measure_queue_cycle(server, rows=20_000)),
        "triggers": lambda: measure_triggers(server, rows=100_000),
        "writers": lambda: uvloop.run(measure_writers(server, rounds=5, round_s=4)),
        "snapshot": lambda: uvloop.run(measure_old_snapshot(server, events=1_000_000)),
        "lag": lambda: uvloop.run(measure_lag(server, inserts=200)),
        "live": lambda: uvloop.run(measure_live(server, inserts=60)),
        "takeover": lambda: uvloop.run(measure_takeover(server)),
        "watches": lambda: uvloop.run(measure_many_watches(server, watches=300, inserts=60)),
        "pipeline": lambda: uvloop.run(measure_pipeline(server, rows=8_000)),
        "texts": lambda: uvloop.run(measure_long_texts(server, rounds=3, queries=200)),
        "serving": lambda: uvloop.run(measure_serving(server, FULL)),
    }
    if part not in measures:
        raise SystemExit(f"there is no part {part!r}; there are: {', '.join(PARTS)}")
    return measures[part]()


def _with_other_parts(path: Path, figures: Mapping[str, Sequence[Figure]]) -> list[dict[str, Any]]:
    """The new figures, and the file's figures of parts that were not measured this time."""
    old = orjson.loads(path.read_bytes())["figures"] if path.exists() else []
    new = [{"part": part, **figure.as_json()} for part, measured in figures.items() for figure in measured]
    kept = [figure for figure in old if figure.get("part") not in figures]
    return sorted(kept + new, key=lambda figure: PARTS.index(figure["part"]))


def _hardware(server: Server) -> dict[str, Any]:
    with psycopg.connect(server.url) as connection:
        (version,) = connection.execute("show server_version").fetchone() or ("?",)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "postgres": version,
    }


def _processor() -> str:
    """The model of the processor; may be empty."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    names = [
        line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def _print(hardware: dict[str, Any], figures: list[Figure]) -> None:
    console = Console()
    console.print(" · ".join(f"{name}: {value}" for name, value in hardware.items()))
    table = Table("figure", "value", "unit", "target", "met")
    for figure in figures:
        met = "" if figure.met is None else ("yes" if figure.met else "NO")
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, figure.target or "", met)
    console.print(table)


main()
