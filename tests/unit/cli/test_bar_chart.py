"""Charts are well-formed SVG that stays in its frame and can be read without seeing it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from sidecar.cli.bar_chart import Bar, Panel, draw_chart, make_panels, show_number, show_target

NAMESPACE = "{http://www.w3.org/2000/svg}"


def draw(*bars: Bar) -> ET.Element:
    return ET.fromstring(draw_chart("A < B", [Panel("rows/s", bars)], "a note"))  # noqa: S314 - our own


def widths(svg: ET.Element) -> list[float]:
    """Those of the bars, without the card."""
    return [float(each.attrib["width"]) for each in svg.iter(NAMESPACE + "rect")][1:]


def test_bars_are_as_long_as_their_values() -> None:
    half, whole = widths(draw(Bar("half", 50), Bar("whole", 100)))
    assert half == pytest.approx(whole / 2, abs=0.1)


def test_a_spread_or_a_target_beyond_the_bars_has_room() -> None:
    (short,) = widths(draw(Bar("short", 50, spread=(25, 200))))
    (alone,) = widths(draw(Bar("alone", 50)))
    (below,) = widths(draw(Bar("below", 50, target=">= 100", met=False)))
    assert short == pytest.approx(alone / 4, abs=0.1)
    assert below == pytest.approx(alone / 2, abs=0.1)


def test_a_value_below_zero_grows_to_the_left() -> None:
    svg = draw(Bar("down", -1), Bar("up", 3))
    down, up = list(svg.iter(NAMESPACE + "rect"))[1:]
    assert float(down.attrib["x"]) + float(down.attrib["width"]) == pytest.approx(float(up.attrib["x"]))


def test_a_bar_that_misses_its_target_and_a_baseline_have_colours_of_their_own() -> None:
    svg = draw(Bar("ours", 1), Bar("missed", 1, target=">= 2", met=False), Bar("bare", 1, is_baseline=True))
    assert [each.attrib["class"] for each in svg.iter(NAMESPACE + "rect")][1:] == ["bar", "missed", "baseline"]


def test_a_screen_reader_gets_every_value() -> None:
    assert draw(Bar("a & b", 1234.5)).attrib["aria-label"] == "A < B. a & b: 1,234 rows/s."


def test_bars_too_short_to_be_seen_get_a_panel_of_their_own() -> None:
    panels = make_panels("ms", [Bar("long", 700), Bar("short", 2), Bar("middle", 100), Bar("tiny", 0.01)])
    assert [[bar.label for bar in panel.bars] for panel in panels] == [["long", "middle"], ["short"], ["tiny"]]
    assert len(make_panels("ms", [Bar("none", 0), Bar("nothing", 0)])) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345.6, "12,346"), (45.67, "45.7"), (1.5, "1.50"), (0.04, "0.040"), (-3.0, "-3.00"), (0, "0")],
)
def test_numbers_have_three_digits_or_all(value: float, shown: str) -> None:
    assert show_number(value) == shown


def test_targets_are_shown_as_they_are_read() -> None:
    assert (show_target(">= 20000"), show_target("<= 1.5")) == ("≥ 20,000", "≤ 1.5")
