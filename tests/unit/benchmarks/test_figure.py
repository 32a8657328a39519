"""Figures carry their rounds, and survive the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.report import Measured, read_report, write_report


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    figure = ratio_of("ours / bare", [1.0, 9.0, 4.0], [2.0, 3.0, 4.0], ">= 2")
    assert (figure.value, figure.rounds, figure.spread, figure.met) == (1.0, (0.5, 3.0, 1.0), (0.5, 3.0), False)


def test_rounds_of_different_number_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio_of("ours / bare", [1.0, 2.0], [1.0])


def test_the_file_keeps_everything_of_a_figure(tmp_path: Path) -> None:
    figures = [
        of_rounds("a", [1.0, 2.0, 4.0], "rows/s", ">= 3", is_baseline=True),
        Figure("slope", 0.5, "MiB/min", interval=(-0.25, 1.25), is_detail=True),
        Figure("once", 3.0, "ms"),
    ]
    report = {"lag": Measured({"cores": 2}, 12, full=True, figures=figures)}
    write_report(tmp_path / "figures.json", report)
    assert read_report(tmp_path / "figures.json") == report
