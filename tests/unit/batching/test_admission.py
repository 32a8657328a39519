"""Bounded lanes: jobs that are rejected, blocked or dropped."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import Overloaded
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, labelled_text
from tests.unit.batching.submitting import INGEST, QUERY, let_callers_run, submit_picture, submit_text, submit_texts


async def test_a_full_query_lane_rejects_until_it_has_drained(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(submit_texts(batcher, [2, 3, 4]))
        await let_callers_run()
        with pytest.raises(Overloaded, match="3 views are waiting, 1 more do not fit") as rejected:
            await submit_text(batcher, 5)
        assert rejected.value.retry_after_s == 1
        assert batcher.waiting(QUERY) == 3
        encoder.release_all()
        await asyncio.gather(*waiters)
        await submit_text(batcher, 6)
    assert [labels for _, labels in encoder.seen] == [[1], [2, 3, 4], [6]]


async def test_an_empty_lane_takes_a_job_larger_than_itself(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=2, ingest_queue_views=2) as batcher:
        await asyncio.wait_for(submit_texts(batcher, [1, 2, 3, 4]), 5)
        await asyncio.wait_for(submit_texts(batcher, [1, 2, 3, 4], INGEST), 5)


async def test_a_full_ingest_lane_blocks_callers_in_order_of_arrival(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=2, max_views=2) as batcher:
        waiters = [submit_text(batcher, 1, INGEST)]
        await encoder.next_call()
        waiters += [submit_text(batcher, label, INGEST) for label in range(2, 12)]
        await let_callers_run()
        assert batcher.waiting(INGEST) == 2
        encoder.release_all()
        await asyncio.gather(*waiters)
    assert [label for _, labels in encoder.seen for label in labels] == list(range(1, 12))


async def test_a_blocked_job_is_enqueued_when_items_leave_the_lane_not_when_they_are_encoded(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=6, max_views=2) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters += [submit_texts(batcher, [2, 3, 4, 5, 6, 7], INGEST), submit_texts(batcher, [8, 9], INGEST)]
        await let_callers_run()
        assert batcher.waiting(INGEST) == 6
        encoder.release()
        assert await encoder.next_call() == ("texts", [2, 3])
        await let_callers_run()
        assert batcher.waiting(INGEST) == 6
        encoder.release_all()
        await asyncio.gather(*waiters)


async def test_inputs_of_a_cancelled_caller_never_reach_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        kept = [submit_text(batcher, 1)]
        await encoder.next_call()
        leaving = submit_picture(batcher, 2, 3)
        kept.append(submit_picture(batcher, 4))
        await let_callers_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert batcher.waiting(QUERY) == 1
        encoder.release_all()
        await asyncio.gather(*kept)
    assert encoder.seen == [("texts", [1]), ("views", [4])]


async def test_the_rest_of_a_picture_is_dropped_if_its_caller_is_cancelled_halfway(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=2) as batcher:
        leaving = submit_picture(batcher, 1, 2, 3, 4, 5)
        await encoder.next_call()
        leaving.cancel()
        await asyncio.wait([leaving])
        encoder.release_all()
        await submit_picture(batcher, 6)
    assert [labels for _, labels in encoder.seen] == [[1, 2], [6]]


async def test_a_cancelled_caller_that_was_blocked_does_not_hold_up_the_next(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=1) as batcher:
        kept = [submit_text(batcher, 1, INGEST)]
        await encoder.next_call()
        kept.append(submit_text(batcher, 2, INGEST))
        leaving = submit_text(batcher, 3, INGEST)
        kept.append(submit_text(batcher, 4, INGEST))
        await let_callers_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(*kept), 5)
    assert [label for _, labels in encoder.seen for label in labels] == [1, 2, 4]


async def test_a_blocked_job_gets_the_capacity_of_a_cancelled_one(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=2) as batcher:
        kept = [submit_text(batcher, 1, INGEST)]
        await encoder.next_call()
        leaving = submit_texts(batcher, [2, 3], INGEST)
        kept.append(submit_text(batcher, 4, INGEST))
        await let_callers_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        await let_callers_run()
        assert batcher.depth(INGEST).waiting == 1  # while the device is still busy
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(*kept), 5)


async def test_capacity_held_while_preparing_is_unavailable_to_others(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=4) as batcher:
        with batcher.preparing(QUERY, 4):
            with pytest.raises(Overloaded):
                await submit_text(batcher, 1)
            with pytest.raises(Overloaded), batcher.preparing(QUERY, 1):
                pass
            await submit_text(batcher, 2, INGEST)
        await submit_text(batcher, 1)


async def test_a_picture_that_may_block_is_enqueued_before_new_requests(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=3, max_views=2) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(submit_texts(batcher, [2, 3]))
        await let_callers_run()
        picture = asyncio.create_task(
            batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True), name="may block"
        )
        await let_callers_run()
        assert batcher.depth(QUERY).waiting == 2
        with pytest.raises(Overloaded, match="4 views are waiting, 1 more do not fit"), batcher.preparing(QUERY, 1):
            pass
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(picture, *waiters), 5)
        await submit_text(batcher, 6)
    assert encoder.seen == [("texts", [1]), ("texts", [2, 3]), ("views", [4, 5]), ("texts", [6])]


async def test_a_blocked_picture_whose_caller_is_cancelled_makes_way(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=2) as batcher:
        waiters = [submit_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(submit_text(batcher, 2))
        await let_callers_run()
        leaving = asyncio.create_task(
            batcher.encode_picture(labelled_picture(3, 4), QUERY, may_block=True), name="leaving"
        )
        await let_callers_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        waiters.append(submit_text(batcher, 5))
        await let_callers_run()
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(*waiters), 5)


async def test_a_prepared_request_is_not_rejected_because_of_blocked_ones(
    running_batcher: RunningBatcher,
) -> None:
    async def prepare_and_submit() -> None:
        with batcher.preparing(QUERY, 3):
            await prepared.wait()
        await batcher.encode_texts([labelled_text(label) for label in (1, 2, 3)], QUERY)

    encoder, prepared = GatedEncoder(), asyncio.Event()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        blocker = submit_text(batcher, 0)
        await encoder.next_call()
        submitted = asyncio.create_task(prepare_and_submit(), name="prepared")
        await let_callers_run()
        blocked = batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True)
        picture = asyncio.create_task(blocked, name="blocked")
        await let_callers_run()
        prepared.set()
        await let_callers_run()
        encoder.release_all()
        await asyncio.wait_for(asyncio.gather(submitted, picture, blocker), 5)
    assert encoder.seen == [("texts", [0]), ("texts", [1, 2, 3]), ("views", [4, 5])]


async def test_a_blocked_job_gets_capacity_that_was_held_while_preparing(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        with batcher.preparing(QUERY, 3):
            blocked = batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True)
            picture = asyncio.create_task(blocked, name="blocked")
            await let_callers_run()
            assert not encoder.seen
        await asyncio.wait_for(picture, 5)


async def test_capacity_for_a_request_in_parts_is_reserved_all_or_nothing(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=10) as batcher:
        with batcher.reserve(QUERY, 6):
            assert batcher.depth(QUERY).reserved == 6
            for items in (5, 100):
                with pytest.raises(Overloaded, match=f"6 views are waiting, {items} more do not fit"):
                    batcher.reject_if_full(QUERY, items)
                with pytest.raises(Overloaded), batcher.reserve(QUERY, items):
                    pass
            await submit_texts(batcher, [1, 2, 3, 4])
        assert batcher.depth(QUERY).reserved == 0
        with batcher.reserve(QUERY, 100):  # larger than the lane, which is empty
            pass


async def test_a_reservation_is_released_part_by_part(running_batcher: RunningBatcher) -> None:
    async with running_batcher(GatedEncoder(), query_queue_views=10) as batcher:
        with batcher.reserve(QUERY, 10) as reservation:
            with reservation.preparing(6):
                assert batcher.depth(QUERY).reserved == 10
            assert batcher.depth(QUERY).reserved == 4
            with pytest.raises(ZeroDivisionError), reservation.preparing(6):
                raise ZeroDivisionError
            assert batcher.depth(QUERY).reserved == 0


async def test_a_reservation_does_not_delay_requests_admitted_before(running_batcher: RunningBatcher) -> None:
    async def prepare_and_submit() -> None:
        with batcher.preparing(QUERY, 2):
            await prepared.wait()
        await batcher.encode_texts([labelled_text(1), labelled_text(2)], QUERY)

    encoder, prepared = GatedEncoder(), asyncio.Event()
    encoder.release_all()
    async with running_batcher(encoder, query_queue_views=4) as batcher, asyncio.timeout(5):
        with batcher.reserve(QUERY, 1000) as reservation:  # the lane is empty
            with reservation.preparing(10):
                pass
            await batcher.encode_picture(labelled_picture(3, 4, 5, 6, 7, 8), QUERY, may_block=True)
        submitted = asyncio.create_task(prepare_and_submit(), name="prepared")
        await let_callers_run()
        with batcher.reserve(QUERY, 2):
            prepared.set()
            await submitted


async def test_parts_whose_caller_is_cancelled_while_they_are_prepared_are_counted(
    running_batcher: RunningBatcher,
) -> None:
    async def prepare() -> None:
        with batcher.reserve(QUERY, 10) as reservation, reservation.preparing(10):
            await asyncio.Event().wait()

    async with running_batcher(GatedEncoder()) as batcher:
        leaving = asyncio.create_task(prepare(), name="leaving")
        await let_callers_run()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert batcher.depth(QUERY).reserved == 0
        registry = batcher.telemetry.metrics.registry
        assert registry.get_sample_value("sidecar_dropped_jobs_total", {"lane": "query"}) == 1
