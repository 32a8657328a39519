"""The benchmarks run, shortened to a second or so each; their figures are meaningless then."""

from __future__ import annotations

import math

import pytest

from benchmarks.decoding import measure_decoding
from benchmarks.serving.scale import QUICK
from benchmarks.serving.serving import measure_overloaded, measure_serving
from tests.servers import Server


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
