"""Which of the rows found a page shows."""

from __future__ import annotations

from sidecar.http.search.bodies import SearchBody
from sidecar.http.search.pages import page_of
from sidecar.postgres.search import NearestRow


def test_min_score_1_finds_a_row_whose_distance_from_itself_is_rounded() -> None:
    rows = [NearestRow("1", 1.8e-7, "{}", None), NearestRow("2", 2e-6, "{}", None)]
    body = SearchBody(table="products", vector=[1.0], min_score=1)
    assert [row.key for row in page_of(body, rows, wanted=10, skipped=0)] == ["1"]
