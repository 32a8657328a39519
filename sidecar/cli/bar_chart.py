"""Bar charts as SVG: values with their spread and their target.

A chart names no font and loads nothing; its colours follow the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _MARGIN = 760, 28
_VALUE_WIDTH = 132  # of the column of values on the right
_PLOT = _WIDTH - 2 * _MARGIN - _VALUE_WIDTH
_SHORTEST = 0.04  # of the longest bar of a panel
_TITLE, _PANEL, _ROW, _BAR, _FOOT = 58, 34, 44, 12, 34
_STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .title { font-size: 18px; font-weight: 600 } .label { font-size: 14px } .value { font-size: 14px; font-weight: 600 }
    .note { font-size: 13px; fill: #59636e } .card { fill: #ffffff; stroke: #d0d7de } .axis { stroke: #d0d7de }
    .bar { fill: #2f6fde } .baseline { fill: #9aa4af } .missed { fill: #d9822b }
    .spread { stroke: #1f2328; fill: none } .target { stroke: #1a7f37; stroke-width: 2 } .limit { fill: #1a7f37 }
    @media (prefers-color-scheme: dark) {
        text { fill: #f0f6fc } .note { fill: #b1bac4 } .axis { stroke: #3d444d }
        .card { fill: #151b23; stroke: #3d444d }
        .bar { fill: #5b95f5 } .baseline { fill: #6e7681 } .missed { fill: #e3933f }
        .spread { stroke: #f0f6fc } .target { stroke: #4ac26b } .limit { fill: #4ac26b }
    }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """`spread`: least and greatest value; None if it was measured once. `target`: for example '>= 0.6'."""

    label: str
    value: float
    spread: tuple[float, float] | None = None
    target: str | None = None
    met: bool | None = None
    is_baseline: bool = False

    @property
    def end(self) -> float:
        """The greatest of what is drawn."""
        values: list[float] = [self.value, *(self.spread or ())]
        return max(values if self.target is None else [*values, _limit(self.target)])


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one unit, on one scale."""

    unit: str
    bars: Sequence[Bar]


def make_panels(unit: str, bars: Sequence[Bar]) -> list[Panel]:
    """One panel; a second one below it for bars too short to be seen in it, and so on."""
    longest = max(bar.end for bar in bars)
    seen = [bar for bar in bars if bar.end >= longest * _SHORTEST]
    rest = [bar for bar in bars if bar.end < longest * _SHORTEST]
    return [Panel(unit, seen), *(make_panels(unit, rest) if seen and rest else [])]


def draw_chart(title: str, panels: Sequence[Panel], note: str) -> str:
    """The SVG of `panels` below one another; `note` stands below them."""
    height = _TITLE + sum(_PANEL + len(panel.bars) * _ROW for panel in panels) + _FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_aria(title, panels)}>',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{_WIDTH - 2}" height="{height - 2}" rx="12"/>',
        _text("title", _MARGIN, 38, title),
    ]
    top = _TITLE
    for panel in panels:
        lines += _panel(panel, top)
        top += _PANEL + len(panel.bars) * _ROW
    return "\n".join([*lines, _text("note", _MARGIN, height - 16, note), "</svg>\n"])


def show_number(value: float) -> str:
    """12,345; 12.3; 1.23; 0.123."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10 or value == 0:
        return f"{value:.3g}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def show_target(target: str) -> str:
    """≥ 20,000 of '>= 20000'."""
    comparison, limit = target.split()
    number = float(limit.replace(",", ""))
    return f"{ {'>=': '≥', '<=': '≤'}[comparison] } {number:,g}"


def _panel(panel: Panel, top: int) -> list[str]:
    low, high = _scale(panel.bars)

    def place(value: float) -> float:
        return round(_MARGIN + (value - low) / (high - low) * _PLOT, 1)

    zero = place(0)
    lines = [_text("note", _MARGIN, top + 16, panel.unit)]
    for number, bar in enumerate(panel.bars):
        row = top + _PANEL + number * _ROW
        lines += [_text("label", _MARGIN, row + 10, bar.label)]
        ends = sorted((zero, place(bar.value)))
        kind = "baseline" if bar.is_baseline else "missed" if bar.met is False else "bar"
        width = max(round(ends[1] - ends[0], 1), 1)
        lines.append(f'<rect class="{kind}" x="{ends[0]}" y="{row + 17}" width="{width}" height="{_BAR}" rx="2"/>')
        lines.append(f'<line class="axis" x1="{zero}" x2="{zero}" y1="{row + 14}" y2="{row + 20 + _BAR}"/>')
        lines += _marks(bar, row + 17 + _BAR // 2, place)
        lines.append(_text("value", _WIDTH - _MARGIN, row + 28, show_number(bar.value), ' text-anchor="end"'))
    return lines


def _marks(bar: Bar, middle: int, place: Callable[[float], float]) -> Iterable[str]:
    """The spread as a whisker, and the target as a line with its limit beside the value."""
    if bar.spread is not None:
        left, right = place(bar.spread[0]), place(bar.spread[1])
        path = f"M{left} {middle - 4}v8M{left} {middle}H{right}M{right} {middle - 4}v8"
        yield f'<path class="spread" d="{path}"/>'
    if bar.target is not None:
        at = place(_limit(bar.target))
        yield f'<line class="target" x1="{at}" x2="{at}" y1="{middle - 9}" y2="{middle + 9}"/>'
        left = _WIDTH - _MARGIN - _VALUE_WIDTH + 12
        yield _text("note limit", left, middle + 5, show_target(bar.target))


def _scale(bars: Sequence[Bar]) -> tuple[float, float]:
    """From zero, or from what is below it, to the greatest value, spread or target."""
    low = min(0.0, *(min([bar.value, *(bar.spread or ())]) for bar in bars))
    high = max(0.0, *(bar.end for bar in bars))
    return low, high if high > low else low + 1


def _limit(target: str) -> float:
    return float(target.split()[1].replace(",", ""))


def _text(kind: str, x: float, y: float, text: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}"{more}>{escape(text)}</text>'


def _aria(title: str, panels: Sequence[Panel]) -> str:
    bars = (f"{bar.label}: {show_number(bar.value)} {panel.unit}" for panel in panels for bar in panel.bars)
    return f'aria-label="{escape(". ".join([title, *bars]))}."'
