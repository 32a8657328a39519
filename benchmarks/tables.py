"""Writes the figures of benchmarks/figures.json into docs/benchmarks.md, with a picture per group.

python -m benchmarks.tables
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.limits import LIMITS
from benchmarks.part import Group
from benchmarks.parts import PARTS
from benchmarks.report import Measured, Report, read_report
from sidecar.cli.bar_chart import Bar, Panel, draw_chart, make_panels, show_number, show_target

_DOCS = Path(__file__).parents[1] / "docs"
PAGE = _DOCS / "benchmarks.md"
ASSETS = _DOCS / "assets"
_BEGIN, _END = "<!-- Written by `python -m benchmarks.tables`: begin -->\n", "<!-- end -->"


def sections(report: Report) -> str:
    """The text between the marks of the page: a section per group."""
    return _summary(report) + "".join(_section(group, parts) for group, parts in _by_group(report))


def pictures(report: Report) -> dict[str, str]:
    """The SVG of each group, by the name of its file."""
    return {group.file_name: _picture(group, parts) for group, parts in _by_group(report)}


def _by_group(report: Report) -> Iterable[tuple[Group, Mapping[str, Measured]]]:
    measured = [part for part in PARTS if part.name in report and _shown(report[part.name])]
    for group in Group:
        if parts := {part.name: report[part.name] for part in measured if part.group is group}:
            yield group, parts


def _summary(report: Report) -> str:
    with_target = [
        figure for _, parts in _by_group(report) for part in parts.values() for figure in _shown(part) if figure.target
    ]
    missed = [figure.name for figure in with_target if not figure.met]
    met = f"{len(with_target) - len(missed)} of {len(with_target)} targets are met."
    return f"\n{met}" + (f" Not met: {'; '.join(missed)}." if missed else "") + "\n"


def _shown(part: Measured) -> list[Figure]:
    return [figure for figure in part.figures if not figure.is_detail]


def _section(group: Group, parts: Mapping[str, Measured]) -> str:
    figures = [figure for part in parts.values() for figure in _shown(part)]
    machines = dict.fromkeys(_machine(part.hardware) for part in parts.values())
    took_s = sum(part.took_s for part in parts.values())
    again = f'`make bench ARGS="{" ".join(parts)}"`'
    return f"""
## {group.heading}

![{group.heading}: the figures of the table below as bars](assets/{group.file_name})

| | Median | Rounds | Target | |
|---|---|---|---|---|
{"".join(map(_row, figures))}
Measured on {"; ".join(machines)}. Again: {again}{f", {took_s / 60:.0f} min" if took_s > 30 else ""}.
"""


def _machine(hardware: dict[str, Any]) -> str:
    gpu = "no GPU" if hardware["gpu"] is None else hardware["gpu"]
    cores = {1: "one core", 2: "two cores"}.get(hardware["cores"], f"{hardware['cores']} cores")
    busy = hardware["load"] is not None and hardware["load"] > 0.5
    beside = f", while others used it (load {hardware['load']:g} before the run)" if busy else ""
    return f"{cores} ({hardware['processor']}), {gpu}, Postgres {hardware['postgres']}{beside}"


def _row(figure: Figure) -> str:
    unit = "" if figure.unit == "ratio" else f" {figure.unit}"
    target = "" if figure.target is None else show_target(figure.target)
    return (
        f"| {figure.name} | {show_number(figure.value)}{unit} | {_rounds(figure)} | {target} | {_verdict(figure)} |\n"
    )


def _rounds(figure: Figure) -> str:
    if figure.spread is None:
        return "once"
    low, high = map(show_number, figure.spread)
    return f"{low} … {high}" + (" (95 %)" if figure.interval else f" of {len(figure.rounds)}")


def _verdict(figure: Figure) -> str:
    if figure.met is None:
        return "baseline" if figure.is_baseline else ""
    if figure.met:
        return "met"
    return f"**not met**: {LIMITS[figure.name]}" if figure.name in LIMITS else "**not met**"


def _picture(group: Group, parts: Mapping[str, Measured]) -> str:
    """A panel per part and unit, since only values of one part were measured beside each other."""
    panels: list[Panel] = []
    for part in parts.values():
        by_unit: dict[str, list[Figure]] = {}
        for figure in _shown(part):
            by_unit.setdefault(figure.unit, []).append(figure)
        for unit, figures in by_unit.items():
            panels += make_panels(unit, [_bar(figure) for figure in figures])
    return draw_chart(
        group.heading, panels, "Medians; whiskers: least and greatest round. Green: the target. Grey: baselines."
    )


def _bar(figure: Figure) -> Bar:
    return Bar(figure.name, figure.value, figure.spread, figure.target, figure.met, figure.is_baseline)


def write(report: Report) -> None:
    """Rewrites the page and the pictures."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    PAGE.write_text(text[:begin] + sections(report) + "\n" + text[end:], encoding="utf-8")
    for name, picture in pictures(report).items():
        (ASSETS / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    write(read_report())
