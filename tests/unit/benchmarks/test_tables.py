"""docs/benchmarks.md is what the last run of the benchmarks measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.figure import Figure
from benchmarks.report import Measured, read_report
from benchmarks.tables import ASSETS, PAGE, pictures, sections

HARDWARE = {"processor": "a CPU", "cores": 2, "gpu": None, "postgres": "18.4", "load": 0.1}
LAG = Figure("lag", 30.25, "ms", "<= 25", rounds=(29.0, 30.25, 41.5))


def page(*figures: Figure) -> str:
    return sections({"lag": Measured(HARDWARE, 1, full=False, figures=figures)})


def test_the_page_and_its_pictures_show_the_figures_of_the_last_run() -> None:
    report = read_report()
    assert sections(report) in PAGE.read_text(encoding="utf-8"), "out of date: python -m benchmarks.tables"
    for name, picture in pictures(report).items():
        assert (ASSETS / name).read_text(encoding="utf-8") == picture, "out of date: python -m benchmarks.tables"


def test_a_figure_that_misses_its_target_says_so_beside_its_spread() -> None:
    assert "| lag | 30.2 ms | 29 … 41.5 of 3 | ≤ 25 | **not met** |" in page(LAG)


def test_the_page_begins_with_the_targets_that_are_missed() -> None:
    met = replace(LAG, name="idle", target="<= 40")
    assert page(LAG, met).startswith("\n1 of 2 targets are met. Not met: lag.\n")
    assert page(met).startswith("\n1 of 1 targets are met.\n")


def test_what_limits_a_missed_figure_stands_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.tables.LIMITS", {"lag": "the poll interval"})
    assert "| **not met**: the poll interval |" in page(LAG)


def test_a_figure_that_was_measured_once_says_so() -> None:
    assert "| lag | 30.2 ms | once |" in page(replace(LAG, rounds=()))


def test_the_page_names_the_machine_and_whether_others_used_it() -> None:
    assert "Measured on two cores (a CPU), no GPU, Postgres 18.4." in page(LAG)
    busy = sections({"lag": Measured({**HARDWARE, "load": 3.2}, 1, full=False, figures=[LAG])})
    assert "while others used it (load 3.2 before the run)" in busy


def test_details_are_left_to_the_file() -> None:
    assert "| detail |" not in page(LAG, replace(LAG, name="detail", is_detail=True))
