"""The benchmarks run, shortened to a second or so each; their figures are meaningless then."""

from __future__ import annotations

import math

import pytest

from benchmarks.database.storage import measure_storage
from benchmarks.decoding import measure_decoding
from benchmarks.serving.scale import QUICK
from benchmarks.serving.serving import measure_overloaded, measure_serving
from tests.servers import Server


@pytest.mark.long
async def test_both_storages_can_be_measured_beside_each_other(postgres_server: Server) -> None:
    figures = {figure.name: figure for figure in await measure_storage(postgres_server, rows=256, rounds=1)}
    assert all(math.isfinite(figure.value) for figure in figures.values()), figures
    for place in ("companion", "in-row"):
        sizes = [figures[f"bare write, {place}, {storage}, on disk"].value for storage in ("vector", "halfvec")]
        assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.long
async def test_every_serving_figure_can_be_measured(postgres_server: Server) -> None:
    figures = [*await measure_serving(postgres_server, QUICK), *await measure_overloaded(QUICK.overload)]
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    assert all(math.isfinite(figure.value) for figure in figures), figures
    values = dict(zip(names, figures, strict=True))
    assert values["overload, refused with 429"].value > 0, "ten times the capacity, and none was refused"
    assert values["overload, refusals without Retry-After"].met
    assert values["overload, neither 200 nor 429, or no answer"].met
    assert values["32 clients, sidecar / naive endpoint"].value > 1


@pytest.mark.long
def test_every_figure_of_decoding_can_be_measured() -> None:
    figures = measure_decoding(rounds=1)
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(figure.value > 0 for figure in figures), figures
    assert figures[-1].met, "fast and exact vectors differ"
