"""Log-log plots as SVG: measured points, and lines of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 460, 84, 190, 64, 64
_COLOURS = ("#2f6fde", "#d9822b", "#1a7f37", "#8250df", "#cf222e", "#59636e")
_STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; font-size: 13px }
    .title { font-size: 18px; font-weight: 600 } .note { fill: #59636e }
    .card { fill: #ffffff; stroke: #d0d7de } .grid { stroke: #d0d7de }
    @media (prefers-color-scheme: dark) {
        text { fill: #f0f6fc } .note { fill: #b1bac4 }
        .card { fill: #151b23; stroke: #3d444d } .grid { stroke: #3d444d }
    }
"""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """`points` were measured; `line` is the model."""

    name: str
    points: Sequence[Point]
    line: Sequence[Point] = ()


def draw_plot(title: str, x_name: str, y_name: str, series: Sequence[Series]) -> str:
    """The SVG. Both axes are logarithmic, from one power of ten to another."""
    every = [point for each in series for point in (*each.points, *each.line)]
    x_axis, y_axis = _Axis.over([x for x, _ in every]), _Axis.over([y for _, y in every])

    def place(point: Point) -> tuple[float, float]:
        x = _LEFT + x_axis.share(point[0]) * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - y_axis.share(point[1]) * (_HEIGHT - _TOP - _BOTTOM)
        return round(x, 1), round(y, 1)

    named = f'role="img" aria-label="{escape(title)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {named}>',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{_WIDTH - 2}" height="{_HEIGHT - 2}" rx="12"/>',
        f'<text class="title" x="28" y="38">{escape(title)}</text>',
        f'<text class="note" x="{_LEFT}" y="{_HEIGHT - 20}">{escape(x_name)}</text>',
        f'<text class="note" x="28" y="{_TOP - 6}">{escape(y_name)}</text>',
    ]
    for tick in x_axis.ticks():
        x, bottom = place((tick, y_axis.least))
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
        lines.append(f'<text class="note" x="{x}" y="{bottom + 18}" text-anchor="middle">{_power(tick)}</text>')
    for tick in y_axis.ticks():
        left, y = place((x_axis.least, tick))
        lines.append(f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text class="note" x="{left - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for number, each in enumerate(series):
        lines += _draw(each, _COLOURS[number % len(_COLOURS)], place)
    for number, each in enumerate(series):
        y = _TOP + 12 + 22 * number
        colour = _COLOURS[number % len(_COLOURS)]
        lines.append(f'<circle cx="{_WIDTH - _RIGHT + 18}" cy="{y - 4}" r="4" fill="{colour}"/>')
        lines.append(f'<text x="{_WIDTH - _RIGHT + 28}" y="{y}">{escape(each.name)}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _draw(series: Series, colour: str, place: object) -> list[str]:
    assert callable(place)
    drawn = [place(point) for point in series.line]
    lines = []
    if drawn:
        path = "M" + "L".join(f"{x} {y}" for x, y in drawn)
        lines.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="5 4"/>')
    places = [place(point) for point in series.points]
    return lines + [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in places]


@dataclass(frozen=True, slots=True)
class _Axis:
    least: float
    greatest: float

    @classmethod
    def over(cls, values: Sequence[float]) -> _Axis:
        return cls(10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values))))

    def share(self, value: float) -> float:
        return math.log10(value / self.least) / math.log10(self.greatest / self.least)

    def ticks(self) -> list[float]:
        count = round(math.log10(self.greatest / self.least))
        return [self.least * 10**power for power in range(count + 1)]


def _power(value: float) -> str:
    superscripts = str(round(math.log10(value))).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"10{superscripts}"
