"""Loading the cross-encoder on first use, once for all callers, and again after a failure."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sidecar.batching.encoder import PairScorer
from sidecar.batching.reranker import LazyScorer
from sidecar.concurrency import cancel_and_wait
from sidecar.errors import ModelError, RerankModelFailed
from sidecar.telemetry.request_context import current_request_id
from tests.unit.batching.submitting import let_callers_run
from tests.unit.batching.word_scorer import WordScorer


class GatedLoad:
    """Each call waits for `gate`, then raises the next of `faults`, if any."""

    def __init__(self, *faults: BaseException) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self._faults = list(faults)

    async def __call__(self) -> PairScorer:
        self.calls += 1
        await self.gate.wait()
        if self._faults:
            raise self._faults.pop(0)
        return WordScorer()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_the_scorer_is_loaded_on_first_use_and_only_once() -> None:
    load = GatedLoad()
    scorer = LazyScorer(load)
    await let_callers_run()
    assert load.calls == 0
    waiters = [asyncio.create_task(scorer.get(), name=f"waiter {number}") for number in range(8)]
    await let_callers_run()
    load.gate.set()
    scorers = await asyncio.gather(*waiters)
    assert len(set(map(id, scorers))) == 1
    assert await scorer.get() is scorers[0]
    assert load.calls == 1


async def test_a_cancelled_caller_does_not_stop_the_loading() -> None:
    load = GatedLoad()
    scorer = LazyScorer(load)
    leaving = asyncio.create_task(scorer.get(), name="leaving")
    await let_callers_run()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await scorer.get()
    await cancel_and_wait([leaving])
    load.gate.set()
    await scorer.get()
    assert load.calls == 1


async def test_loading_runs_outside_the_context_of_the_first_request() -> None:
    working_for: list[str | None] = []

    async def load() -> PairScorer:
        working_for.append(current_request_id.get())
        return WordScorer()

    token = current_request_id.set("the first")
    try:
        await LazyScorer(load).get()
    finally:
        current_request_id.reset(token)
    assert working_for == [None]


async def test_a_failure_is_raised_to_all_callers_and_loading_is_retried_after_a_pause() -> None:
    load = GatedLoad(ModelError("no such directory"))
    clock = Clock()
    scorer = LazyScorer(load, clock)
    load.gate.set()
    failures = await asyncio.gather(scorer.get(), scorer.get(), return_exceptions=True)
    clock.now += 4
    late = await failure_of(scorer)
    for failure, pause_s in zip((*failures, late), (5, 5, 1), strict=True):
        assert isinstance(failure, RerankModelFailed)
        assert str(failure) == "The reranking model cannot be loaded: no such directory"
        assert failure.retry_after_s == pause_s
    assert load.calls == 1  # the third failed without an attempt
    clock.now += 1
    await scorer.get()
    assert load.calls == 2


async def test_every_further_failure_doubles_the_pause_up_to_five_minutes() -> None:
    load = GatedLoad(*(ModelError("broken") for _ in range(9)))
    load.gate.set()
    clock = Clock()
    scorer = LazyScorer(load, clock)
    pauses = []
    for _ in range(8):
        failure = await failure_of(scorer)
        pauses.append(failure.retry_after_s)
        clock.now += failure.retry_after_s
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert load.calls == 8


async def test_an_unexpected_error_is_raised_without_its_details_which_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load = GatedLoad(KeyError("a secret detail"))
    load.gate.set()
    failure = await failure_of(LazyScorer(load))
    assert "secret" not in str(failure)
    assert "the log has more" in str(failure)
    # Only of our own: asyncio may tell of a future of an earlier test, whenever the garbage collector finds it.
    (record,) = [record for record in caplog.records if record.exc_info and record.name.startswith("sidecar")]
    assert record.levelno == logging.ERROR
    assert "a secret detail" in str(record.exc_info)


async def test_a_base_exception_is_a_failure_like_any_other() -> None:
    load = GatedLoad(SystemExit("a panic"))
    load.gate.set()
    scorer = LazyScorer(load)
    assert "the log has more" in str(await asyncio.wait_for(failure_of(scorer), 5))
    assert scorer.state.startswith("failed: ")


async def test_cancelling_fails_waiting_callers_and_prevents_further_loading() -> None:
    load = GatedLoad()
    scorer = LazyScorer(load)
    waiter = asyncio.create_task(scorer.get(), name="waiter")
    await let_callers_run()
    scorer.cancel()
    with pytest.raises(RerankModelFailed, match="shutting down"):
        await waiter
    assert "shutting down" in str(await failure_of(scorer))
    await scorer.close()
    assert load.calls == 1


async def test_a_loaded_scorer_stays_available_after_closing() -> None:
    load = GatedLoad()
    load.gate.set()
    scorer = LazyScorer(load)
    loaded = await scorer.get()
    await scorer.close()
    assert await scorer.get() is loaded


async def failure_of(scorer: LazyScorer) -> RerankModelFailed:
    with pytest.raises(RerankModelFailed) as caught:
        await scorer.get()
    return caught.value


async def test_loading_may_be_started_before_first_use() -> None:
    load = GatedLoad()
    scorer = LazyScorer(load)
    scorer.start()
    scorer.start()
    await let_callers_run()
    assert load.calls == 1
    load.gate.set()
    await scorer.get()
    assert load.calls == 1
