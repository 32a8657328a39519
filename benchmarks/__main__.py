"""`make bench`: measures the figures of docs/benchmarks.md, prints them as a table and writes them as JSON."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure
from benchmarks.hardware import describe_hardware
from benchmarks.part import Run
from benchmarks.parts import PARTS
from benchmarks.report import FIGURES, Measured, read_report, write_report
from sidecar.cli.bar_chart import show_number


def main() -> None:
    arguments = _parse_arguments()
    logging.basicConfig(level=logging.WARNING)
    hardware = describe_hardware()
    Console().print(" · ".join(f"{name}: {value}" for name, value in hardware.items()))
    with Run(rounds=arguments.rounds, full=arguments.full, minutes=arguments.minutes, pgai=arguments.pgai) as run:
        for part in [part for part in PARTS if part.name in arguments.parts]:
            began = time.perf_counter()
            figures = part.run(run)
            took_s = time.perf_counter() - began
            _print(part.name, took_s, figures)
            report = read_report(arguments.json)  # again: another run may have written meanwhile
            report[part.name] = Measured(hardware, round(took_s), arguments.full, figures)
            write_report(arguments.json, {each.name: report[each.name] for each in PARTS if each.name in report})


def _parse_arguments() -> argparse.Namespace:
    names = [part.name for part in PARTS]
    by_default = [part.name for part in PARTS if part.by_default]
    others = ", ".join(name for name in names if name not in by_default) or "none"
    parser = argparse.ArgumentParser(prog="make bench", description="Measures the figures of docs/benchmarks.md.")
    parser.add_argument(
        "parts",
        nargs="*",
        default=by_default,
        metavar="PART",
        help=f"which of: {', '.join(names)}. Default: all but those that need something more ({others})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured; default: 5")
    parser.add_argument("--full", action="store_true", help="at full size: 3,000,000 outstanding rows, 10 minutes, …")
    parser.add_argument("--minutes", type=float, help="how long the overload runs; default: 1, with --full 10")
    parser.add_argument("--pgai", metavar="PATH", help="pgai's program, for the part pgai")
    parser.add_argument("--json", type=Path, default=FIGURES, help="where the figures are written")
    arguments = parser.parse_args()
    for name in arguments.parts:
        if name not in names:
            parser.error(f"there is no part {name!r}; there are: {', '.join(names)}")
    return arguments


def _print(part: str, took_s: float, figures: Sequence[Figure]) -> None:
    table = Table("figure", "median", "min … max", "unit", "target", "met", title=f"{part}, {took_s:.0f} s")
    for figure in figures:
        met = "" if figure.met is None else ("yes" if figure.met else "NO")
        spread = "once" if figure.spread is None else " … ".join(map(show_number, figure.spread))
        table.add_row(figure.name, show_number(figure.value), spread, figure.unit, figure.target or "", met)
    Console().print(table)


main()
