from __future__ import annotations

import json

from benchmarks.tables import FIGURES, PAGE, tables


def test_the_page_shows_the_figures_of_the_last_run() -> None:
    text = PAGE.read_text()
    assert tables(json.loads(FIGURES.read_text())) in text, "out of date: python -m benchmarks.tables"


def test_a_figure_that_misses_its_target_says_so() -> None:
    figure = {"part": "lag", "name": "lag", "value": 30.25, "unit": "ms", "target": "<= 25", "met": False}
    hardware = {"processor": "a CPU", "postgres": "18.4"}
    assert "| lag | 30.2 ms | ≤ 25 | **not met** |" in tables({"hardware": hardware, "figures": [figure]})
