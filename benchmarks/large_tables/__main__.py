"""Measures docs/large-tables.md: `python -m benchmarks.large_tables`. What its JSON holds is not measured again."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop

from benchmarks.large_tables.builds import BUILDS, SMALL_BUILDS, measure_build
from benchmarks.large_tables.growth import measure_size
from benchmarks.large_tables.results import RESULTS, read_results, write_results
from benchmarks.scratch import scratch_server
from tests.servers import Server

SIZES = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)


def main() -> None:
    arguments = _parse_arguments()
    with scratch_server() as server:
        if not arguments.only_builds:
            _measure_sizes(server, arguments.rows, arguments.json)
        if not arguments.only_sizes:
            _measure_builds(server, arguments.small, arguments.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_tables", description=__doc__)
    sizes = ",".join(map(str, SIZES))
    parser.add_argument("--rows", type=_numbers, default=SIZES, help=f"sizes of the table; default: {sizes}")
    parser.add_argument("--small", action="store_true", help="index builds of some seconds only")
    parser.add_argument("--only-sizes", action="store_true", help="without the index builds")
    parser.add_argument("--only-builds", action="store_true", help="the index builds alone")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the results are read and written")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each.replace("_", "")) for each in text.split(","))


def _measure_sizes(server: Server, sizes: tuple[int, ...], path: Path) -> None:
    for rows in sizes:
        if str(rows) not in read_results(path).sizes:
            measured = uvloop.run(measure_size(server, rows))
            results = read_results(path)
            results.sizes[str(rows)] = measured
            write_results(path, results)
            print(f"{rows:,} rows: {measured}", flush=True)


def _measure_builds(server: Server, small: bool, path: Path) -> None:
    for build in SMALL_BUILDS if small else BUILDS:
        if build.name not in read_results(path).builds:
            measured = measure_build(server, build)
            results = read_results(path)
            results.builds[build.name] = measured
            write_results(path, results)
            print(f"{build.name}: {measured}", flush=True)


main()
