"""docs/large-tables.md is what `python -m benchmarks.large_tables` last measured, and what `plan` computes."""

from __future__ import annotations

import pytest

from benchmarks.large_tables.page import ASSETS, PAGE, filled, pictures
from benchmarks.large_tables.results import read_results
from sidecar.operations.planning import costs

OUT_OF_DATE = "out of date: python -m benchmarks.large_tables.page"


def test_the_page_and_its_pictures_show_the_last_run_and_the_model_of_plan() -> None:
    results = read_results()
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, results) == page, OUT_OF_DATE
    for name, picture in pictures(results).items():
        assert (ASSETS / name).read_text(encoding="utf-8") == picture, OUT_OF_DATE


def test_what_a_status_or_a_start_reads_does_not_grow_with_the_table() -> None:
    sizes = read_results().sizes
    for figure in ("status_pages_with_backlog", "raise_generation_pages_with_backlog", "find_work_pages_with_backlog"):
        assert sizes["5000000"][figure] < 2 * sizes["500000"][figure] + 100, figure


def test_bytes_of_a_row_in_the_ledger_are_within_a_tenth_of_the_model_at_every_size() -> None:
    for measured in read_results().sizes.values():
        said = measured["ledger_bytes_per_row"] + measured["ledger_indexes_bytes_per_row"]
        assert said == pytest.approx(costs.LEDGER_BYTES, rel=0.1)
