"""Writes the tables of docs/benchmarks.md from benchmarks/figures.json: `python -m benchmarks.tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
PAGE = _ROOT / "docs" / "benchmarks.md"
FIGURES = _ROOT / "benchmarks" / "figures.json"
_BEGIN, _END = "## Rows and requests\n", "`make bench` measures them again"

# Figures of the serving part that are shown although they have no target, for comparison; figures.json has the rest.
_SERVING_WITHOUT_TARGET = {
    "serving: 32 clients, sidecar",
    "serving: 32 clients, sidecar / naive endpoint",
    "serving: 32 clients, p95, naive endpoint",
    "serving: 32 clients, p95, sidecar",
    "serving: 32 clients / one client, of what the device gains, BATCH_MAX_VIEWS 32",
    "serving: one client, text query p95, idle",
    "serving: one client, text query p95, during ingest of pictures",
    "serving: ingest beside 32 clients",
    "serving: overload, a refusal, p50",
    "serving: 32 clients, sidecar (demo's model on the CPU)",
    "serving: 32 clients, sidecar / naive endpoint (demo's model on the CPU)",
    "serving: HTTP + batching over a bare encoder call, one text, p50 (demo's model on the CPU)",
    "serving: one client, text query p95, idle (demo's model on the CPU)",
    "serving: one client, text query p95, during ingest of pictures (demo's model on the CPU)",
    "serving: overload, goodput / capacity (demo's model on the CPU)",
}


def tables(report: dict[str, Any]) -> str:
    """The text of the section between its heading and the sentence about `make bench`."""
    rows = [figure for figure in report["figures"] if figure["part"] != "serving"]
    serving = [figure for figure in report["figures"] if figure["part"] == "serving"]
    shown = [figure for figure in serving if figure["target"] or figure["name"] in _SERVING_WITHOUT_TARGET]
    hardware = report["hardware"]
    machine = f"Two cores ({hardware['processor']}), no GPU, Postgres {hardware['postgres']} on the same machine"
    return f"""
{machine}, client and device too; the
device is a timer, so that it does not take the cores from the rest. Absolute numbers vary by a fifth from run to run.

Rows:

{_table(rows)}

Serving, over HTTP from another process. The device takes 20 ms for a micro-batch of up to 8 texts (`BATCH_MAX_VIEWS=8`;
2 in the overload, which is ten times what it can do, for a minute), so that two cores carry client and server:

{_table(shown)}

"""


def _table(figures: list[dict[str, Any]]) -> str:
    return "\n".join(["| | | Target | |", "|---|---|---|---|", *map(_row, figures)])


def _row(figure: dict[str, Any]) -> str:
    met = {True: "met", False: "**not met**", None: ""}[figure["met"]]
    target = (figure["target"] or "").replace(">=", "≥").replace("<=", "≤").replace("20000", "20,000")
    name = figure["name"].removeprefix("serving: ")
    return f"| {name} | {_format(figure['value'])} {figure['unit']} | {target} | {met} |"


def _format(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10 or value == 0:
        return f"{value:.3g}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _write() -> None:
    text = PAGE.read_text()
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    PAGE.write_text(text[:begin] + tables(json.loads(FIGURES.read_text())) + text[end:])


if __name__ == "__main__":
    _write()
