"""Writes the tables and the plots of docs/large-tables.md from benchmarks/large_tables.json and the model of `plan`.

python -m benchmarks.large_tables.page
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.ingest.ceiling import SHAPES
from benchmarks.large_tables.plot import Series, draw_plot
from benchmarks.large_tables.results import Results, read_results
from benchmarks.report import Report, read_report
from sidecar.cli.bar_chart import show_number
from sidecar.operations.planning import costs
from sidecar.operations.planning.device_rates import DEVICE_RATES

_DOCS = Path(__file__).parents[2] / "docs"
PAGE = _DOCS / "large-tables.md"
ASSETS = _DOCS / "assets"
DIMENSIONS = 1152
CORES, USED_SHARE = (2, 8, 16), 0.7
ROWS = (10**6, 10**7, 10**8, 10**9)
_MEASURED = {
    "claim of 256 rows, all rows waiting, least": ("claim_least_ms", "ms"),
    "… p50": ("claim_ms", "ms"),
    "… p95": ("claim_p95_ms", "ms"),
    "`sidecar.status`, nothing waiting": ("status_least_ms", "ms"),
    "… all rows waiting": ("status_with_backlog_least_ms", "ms"),
    "… pages it reads": ("status_pages_with_backlog", "pages"),
    "what a starting sidecar reads of queue and ledger": ("raise_generation_pages_with_backlog", "pages"),
    "`sidecar doctor`": ("doctor_ms", "ms"),
    "`sidecar.watch` of the filled table": ("watch_ms", "ms"),
    "page of the first scan, 256 rows": ("backfill_page_least_ms", "ms"),
    "page of a sweep, 5,000 rows": ("sweep_page_least_ms", "ms"),
    "… 5,000 ledger entries": ("sweep_entries_page_least_ms", "ms"),
    "… 5,000 vectors of a companion": ("sweep_vectors_page_least_ms", "ms"),
    "processor time of the server, a row": ("fill_server_us_per_row", "us"),
    "WAL, a row (vectors of 8 numbers)": ("fill_wal_bytes_per_row", "B"),
    "queue while it fills": ("fill_events_bytes", "MB"),
    "ledger with its indexes, a row": ("ledger", "B"),
    "companion without the vector, with its index, a row": ("companion", "B"),
    "event that waits, a row": ("event_bytes", "B"),
}


def sections(results: Results) -> dict[str, str]:
    """The text between the marks of the page, by their names."""
    report = read_report()
    return {
        "measured": _measured(results),
        "sizes": _sizes(),
        "builds": _builds(results),
        "times": _times(),
        **({"ceiling": _ceiling(report)} if "ceiling" in report else {}),
    }


def pictures(results: Results) -> dict[str, str]:
    """SVGs by the name of their files."""
    return {"large-tables.svg": _plot_of_sizes(results), "large-tables-builds.svg": _plot_of_builds(results)}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _measured(results: Results) -> str:
    sizes = sorted(results.sizes.items(), key=lambda size: int(size[0]))
    rows = [
        [name, *(f"{show_number(_figure(measured, key, unit))} {unit}" for _, measured in sizes)]
        for name, (key, unit) in _MEASURED.items()
    ]
    return _table(["", *(f"{int(rows):,} rows" for rows, _ in sizes)], rows)


def _figure(measured: Mapping[str, float], key: str, unit: str) -> float:
    if key == "ledger":
        return measured["ledger_bytes_per_row"] + measured["ledger_indexes_bytes_per_row"]
    if key == "companion":
        vector = 4 * 8 + 8
        return measured["companion_bytes_per_row"] - vector + measured["companion_indexes_bytes_per_row"]
    return measured[key] / (1e6 if unit == "MB" else 1)


def _of_rows(name: str, show: Callable[[float], str], bytes_or_s: Callable[[int], float]) -> list[str]:
    return [name, *(show(bytes_or_s(rows)) for rows in ROWS)]


def _sizes() -> str:
    def each(amount: float) -> Callable[[int], float]:
        return lambda rows: rows * amount

    lines = {
        "vectors, `vector`": costs.vector_bytes(DIMENSIONS, "vector"),
        "vectors, `halfvec`": costs.vector_bytes(DIMENSIONS, "halfvec"),
        "ledger": costs.LEDGER_BYTES,
        "index `halfvec`": costs.index_bytes(DIMENSIONS, "halfvec"),
        "index `vector`": costs.index_bytes(DIMENSIONS, "vector"),
        "index of bits": costs.index_bytes(DIMENSIONS, "bit"),
        "memory to build it, `halfvec`": costs.graph_bytes(DIMENSIONS, "halfvec"),
        "memory to build it, `vector`": costs.graph_bytes(DIMENSIONS, "vector"),
        "memory to build it, bits": costs.graph_bytes(DIMENSIONS, "bit"),
        "WAL of the first filling, `vector`": costs.wal_bytes(DIMENSIONS, "vector"),
        "WAL of the first filling, `halfvec`": costs.wal_bytes(DIMENSIONS, "halfvec"),
    }
    return _table(
        ["", *map(_power, ROWS)], [_of_rows(name, show_bytes, each(amount)) for name, amount in lines.items()]
    )


def _times() -> str:
    h100 = next(rate for rate in DEVICE_RATES if "H100" in rate.device)
    texts = h100.texts_per_s or 0.0
    lines: dict[str, Callable[[int], float]] = {
        "filling, texts, one H100": lambda rows: rows / texts,
        "filling, pictures of eight views, one H100": lambda rows: rows * 8 / h100.views_per_s,
        "building the index `halfvec`, two processes, graph in memory": lambda rows: costs.build_s(
            rows, DIMENSIONS, "halfvec"
        ),
        "… with memory for a tenth of it": lambda rows: costs.build_s(
            rows, DIMENSIONS, "halfvec", rows * costs.graph_bytes(DIMENSIONS, "halfvec") / 10
        ),
        "a sweep, in the row": lambda rows: costs.sweep_s(rows, has_companion=False),
        "a sweep, with a companion": lambda rows: costs.sweep_s(rows, has_companion=True),
    }
    return _table(["", *map(_power, ROWS)], [_of_rows(name, show_time, time_of) for name, time_of in lines.items()])


def _ceiling(report: Report) -> str:
    """Rows per second of a server whose cores do nothing else, computed from the processor time of a row."""
    figures = {figure.name: figure.value for figure in report["ceiling"].figures}
    h100 = next(rate for rate in DEVICE_RATES if "H100" in rate.device)
    pictures_per_s, texts_per_s = h100.views_per_s / 8, h100.texts_per_s or 0.0
    rows = []
    for shape in SHAPES:
        for cores in CORES:
            rows_per_s = cores * USED_SHARE * 1e6 / figures[f"{shape}, server"]
            wal_per_s = rows_per_s * figures[f"{shape}, WAL"]
            rows.append(
                [
                    shape,
                    str(cores),
                    f"{rows_per_s:,.0f}",
                    f"{wal_per_s / 1e6:,.0f} MB/s",
                    f"{rows_per_s / pictures_per_s:,.0f}",
                    f"{rows_per_s / texts_per_s:.1f}",
                ]
            )
    header = ["Vectors", "Cores of the server", "Rows/s", "WAL", "H100s, pictures of eight views", "H100s, texts"]
    return _table(header, rows)


_BUILD = re.compile(r"([\d,]+) rows of (\w+)\((\d+)\)(?:, memory for (\d+)%)?")


def _parsed(name: str) -> tuple[int, str, int, float]:
    """Rows, type, dimensions and the part of the graph that memory is there for."""
    found = _BUILD.fullmatch(name)
    assert found, name
    return int(found[1].replace(",", "")), found[2], int(found[3]), float(found[4] or 100) / 100


def _builds(results: Results) -> str:
    rows = []
    for name, measured in results.builds.items():
        number, index, dimensions, share = _parsed(name)
        memory = measured["memory_bytes"] if share < 1 else float("inf")
        model_s = costs.build_s(number, dimensions, index, memory, processes=1)
        model_bytes = number * costs.index_bytes(dimensions, index)
        rows.append(
            [
                name,
                f"{measured['cpu_seconds']:.1f} s",
                f"{model_s:.1f} s",
                f"{measured['cpu_seconds'] / model_s - 1:+.0%}",
                f"{measured['index_bytes'] / number:,.0f} B",
                f"{model_bytes / number:,.0f} B",
                f"{measured['index_bytes'] / model_bytes - 1:+.0%}",
                f"{measured['rows_in_memory'] / number:.0%}",
            ]
        )
    header = [
        "",
        "Processor time",
        "Model",
        "Residual",
        "Index, a row",
        "Model",
        "Residual",
        "Rows that fitted into memory",
    ]
    return _table(header, rows)


def _plot_of_sizes(results: Results) -> str:
    names = {
        "claim of 256 rows": "claim_least_ms",
        "status": "status_with_backlog_least_ms",
        "page of a sweep": "sweep_page_least_ms",
        "page of the first scan": "backfill_page_least_ms",
    }
    series = [
        Series(name, sorted((float(rows), measured[key]) for rows, measured in results.sizes.items()))
        for name, key in names.items()
    ]
    return draw_plot("Statements by the size of the table, least times", "rows, all of them waiting", "ms", series)


def _plot_of_builds(results: Results) -> str:
    by_kind: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for name, measured in results.builds.items():
        rows, index, dimensions, share = _parsed(name)
        if share == 1:
            by_kind.setdefault((index, dimensions), []).append((float(rows), measured["cpu_seconds"]))
    spots = [10 ** (power / 4) for power in range(16, 37)]
    series = [
        Series(
            f"{index}({dimensions})",
            points,
            [(rows, costs.build_s(round(rows), dimensions, index, processes=1)) for rows in spots],
        )
        for (index, dimensions), points in by_kind.items()
    ]
    return draw_plot("Building the index: points measured, lines computed", "rows", "s of processor time", series)


def show_bytes(size: float) -> str:
    """In powers of ten, as disks are sold."""
    unit, divisor = ("TB", 1e12) if size >= 1e12 else ("GB", 1e9)
    return f"{size / divisor:,.1f} {unit}" if size / divisor < 100 else f"{size / divisor:,.0f} {unit}"


def show_time(seconds: float) -> str:
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800), ("days", 86_400, 6e7)):
        if seconds < limit:
            return (
                f"{show_number(seconds / length)} {unit}" if seconds / length < 10 else f"{seconds / length:.0f} {unit}"
            )
    return f"{seconds / 31_557_600:.1f} years"


def _power(rows: int) -> str:
    superscripts = str(len(str(rows)) - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{superscripts} rows"


def filled(page: str, results: Results) -> str:
    """The page with its tables rewritten."""
    for name, text in sections(results).items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        page = page[: page.index(begin) + len(begin)] + "\n" + text + "\n" + page[page.index(end) :]
    return page


def write(results: Results) -> None:
    """Rewrites the page and the pictures."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    for name, picture in pictures(results).items():
        (ASSETS / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    write(read_results())
