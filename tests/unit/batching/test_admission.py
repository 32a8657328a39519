"""Bounded lanes: who is refused, who waits, and what becomes of callers that go away."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import Overloaded
from tests.unit.batching.asking import INGEST, QUERY, ask_picture, ask_text, ask_texts, let_callers_enter
from tests.unit.batching.conftest import RunningBatcher
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, labelled_text


async def test_a_full_query_lane_refuses_and_takes_again_once_drained(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        waiters = [ask_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(ask_texts(batcher, [2, 3, 4]))
        await let_callers_enter()
        with pytest.raises(Overloaded, match="3 views wait and 1 more do not fit") as refused:
            await ask_text(batcher, 5)
        assert refused.value.retry_after_s == 1
        assert batcher.waiting(QUERY) == 3
        encoder.open()
        await asyncio.gather(*waiters)
        await ask_text(batcher, 6)
    assert [labels for _, labels in encoder.seen] == [[1], [2, 3, 4], [6]]


async def test_work_larger_than_the_lane_is_let_into_an_empty_one(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.open()
    async with running_batcher(encoder, query_queue_views=2, ingest_queue_views=2) as batcher:
        await asyncio.wait_for(ask_texts(batcher, [1, 2, 3, 4]), 5)
        await asyncio.wait_for(ask_texts(batcher, [1, 2, 3, 4], INGEST), 5)


async def test_a_full_ingest_lane_makes_callers_wait_in_order(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=2, max_views=2) as batcher:
        waiters = [ask_text(batcher, 1, INGEST)]
        await encoder.next_call()
        waiters += [ask_text(batcher, label, INGEST) for label in range(2, 12)]
        await let_callers_enter()
        assert batcher.waiting(INGEST) == 2
        encoder.open()
        await asyncio.gather(*waiters)
    assert [label for _, labels in encoder.seen for label in labels] == list(range(1, 12))


async def test_ingest_is_let_in_as_soon_as_views_leave_the_lane_not_when_they_are_done(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=6, max_views=2) as batcher:
        waiters = [ask_text(batcher, 1)]
        await encoder.next_call()
        waiters += [ask_texts(batcher, [2, 3, 4, 5, 6, 7], INGEST), ask_texts(batcher, [8, 9], INGEST)]
        await let_callers_enter()
        assert batcher.waiting(INGEST) == 6
        encoder.let_go()
        assert await encoder.next_call() == ("texts", [2, 3])
        await let_callers_enter()
        assert batcher.waiting(INGEST) == 6
        encoder.open()
        await asyncio.gather(*waiters)


async def test_a_cancelled_callers_work_never_reaches_the_device(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder) as batcher:
        kept = [ask_text(batcher, 1)]
        await encoder.next_call()
        leaving = ask_picture(batcher, 2, 3)
        kept.append(ask_picture(batcher, 4))
        await let_callers_enter()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert batcher.waiting(QUERY) == 1
        encoder.open()
        await asyncio.gather(*kept)
    assert encoder.seen == [("texts", [1]), ("views", [4])]


async def test_of_a_picture_cancelled_halfway_the_rest_is_dropped(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, max_views=2) as batcher:
        leaving = ask_picture(batcher, 1, 2, 3, 4, 5)
        await encoder.next_call()
        leaving.cancel()
        await asyncio.wait([leaving])
        encoder.open()
        await ask_picture(batcher, 6)
    assert [labels for _, labels in encoder.seen] == [[1, 2], [6]]


async def test_a_caller_cancelled_at_the_door_of_ingest_lets_the_next_one_in(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=1) as batcher:
        kept = [ask_text(batcher, 1, INGEST)]
        await encoder.next_call()
        kept.append(ask_text(batcher, 2, INGEST))
        leaving = ask_text(batcher, 3, INGEST)
        kept.append(ask_text(batcher, 4, INGEST))
        await let_callers_enter()
        leaving.cancel()
        await asyncio.wait([leaving])
        encoder.open()
        await asyncio.wait_for(asyncio.gather(*kept), 5)
    assert [label for _, labels in encoder.seen for label in labels] == [1, 2, 4]


async def test_the_room_of_a_caller_that_leaves_is_given_to_who_stands_at_the_door(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, ingest_queue_views=2) as batcher:
        kept = [ask_text(batcher, 1, INGEST)]
        await encoder.next_call()
        leaving = ask_texts(batcher, [2, 3], INGEST)
        kept.append(ask_text(batcher, 4, INGEST))
        await let_callers_enter()
        leaving.cancel()
        await asyncio.wait([leaving])
        await let_callers_enter()
        assert batcher.depth(INGEST).waiting == 1  # while the device is still busy
        encoder.open()
        await asyncio.wait_for(asyncio.gather(*kept), 5)


async def test_reserved_room_is_refused_to_others_until_it_is_given_back(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.open()
    async with running_batcher(encoder, query_queue_views=4) as batcher:
        with batcher.preparing(QUERY, 4):
            with pytest.raises(Overloaded):
                await ask_text(batcher, 1)
            with pytest.raises(Overloaded), batcher.preparing(QUERY, 1):
                pass
            await ask_text(batcher, 2, INGEST)
        await ask_text(batcher, 1)


async def test_a_picture_of_an_admitted_request_waits_for_room_and_goes_before_new_requests(
    running_batcher: RunningBatcher,
) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=3, max_views=2) as batcher:
        waiters = [ask_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(ask_texts(batcher, [2, 3]))
        await let_callers_enter()
        picture = asyncio.create_task(
            batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True), name="admitted"
        )
        await let_callers_enter()
        assert batcher.depth(QUERY).waiting == 2
        with pytest.raises(Overloaded, match="4 views wait and 1 more do not fit"), batcher.preparing(QUERY, 1):
            pass
        encoder.open()
        await asyncio.wait_for(asyncio.gather(picture, *waiters), 5)
        await ask_text(batcher, 6)
    assert encoder.seen == [("texts", [1]), ("texts", [2, 3]), ("views", [4, 5]), ("texts", [6])]


async def test_an_admitted_picture_whose_caller_leaves_at_the_door_makes_way(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    async with running_batcher(encoder, query_queue_views=2) as batcher:
        waiters = [ask_text(batcher, 1)]
        await encoder.next_call()
        waiters.append(ask_text(batcher, 2))
        await let_callers_enter()
        leaving = asyncio.create_task(
            batcher.encode_picture(labelled_picture(3, 4), QUERY, may_block=True), name="leaving"
        )
        await let_callers_enter()
        leaving.cancel()
        await asyncio.wait([leaving])
        waiters.append(ask_text(batcher, 5))
        await let_callers_enter()
        encoder.open()
        await asyncio.wait_for(asyncio.gather(*waiters), 5)


async def test_a_request_with_a_reserved_place_is_not_refused_for_those_at_the_door(
    running_batcher: RunningBatcher,
) -> None:
    async def prepare_and_ask() -> None:
        with batcher.preparing(QUERY, 3):
            await prepared.wait()
        await batcher.encode_texts([labelled_text(label) for label in (1, 2, 3)], QUERY)

    encoder, prepared = GatedEncoder(), asyncio.Event()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        blocker = ask_text(batcher, 0)
        await encoder.next_call()
        asked = asyncio.create_task(prepare_and_ask(), name="asked")
        await let_callers_enter()
        at_door = batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True)
        picture = asyncio.create_task(at_door, name="at the door")
        await let_callers_enter()
        prepared.set()
        await let_callers_enter()
        encoder.open()
        await asyncio.wait_for(asyncio.gather(asked, picture, blocker), 5)
    assert encoder.seen == [("texts", [0]), ("texts", [1, 2, 3]), ("views", [4, 5])]


async def test_a_place_that_is_given_back_is_taken_by_who_stands_at_the_door(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.open()
    async with running_batcher(encoder, query_queue_views=3) as batcher:
        with batcher.preparing(QUERY, 3):
            at_door = batcher.encode_picture(labelled_picture(4, 5), QUERY, may_block=True)
            picture = asyncio.create_task(at_door, name="at the door")
            await let_callers_enter()
            assert not encoder.seen
        await asyncio.wait_for(picture, 5)


async def test_a_request_in_parts_is_let_in_or_refused_as_a_whole(running_batcher: RunningBatcher) -> None:
    encoder = GatedEncoder()
    encoder.open()
    async with running_batcher(encoder, query_queue_views=10) as batcher:
        with batcher.reserve(QUERY, 6):
            assert batcher.depth(QUERY).reserved == 6
            for units in (5, 100):
                with pytest.raises(Overloaded, match=f"6 views wait and {units} more do not fit"):
                    batcher.reject_if_full(QUERY, units)
                with pytest.raises(Overloaded), batcher.reserve(QUERY, units):
                    pass
            await ask_texts(batcher, [1, 2, 3, 4])
        assert batcher.depth(QUERY).reserved == 0
        with batcher.reserve(QUERY, 100):  # larger than the lane, which is empty
            pass


async def test_the_place_of_a_request_is_given_back_part_by_part(running_batcher: RunningBatcher) -> None:
    async with running_batcher(GatedEncoder(), query_queue_views=10) as batcher:
        with batcher.reserve(QUERY, 10) as reservation:
            with reservation.preparing(6):
                assert batcher.depth(QUERY).reserved == 10
            assert batcher.depth(QUERY).reserved == 4
            with pytest.raises(ZeroDivisionError), reservation.preparing(6):
                raise ZeroDivisionError
            assert batcher.depth(QUERY).reserved == 0


async def test_a_promised_place_holds_up_nobody_who_was_let_in(running_batcher: RunningBatcher) -> None:
    async def prepare_and_ask() -> None:
        with batcher.preparing(QUERY, 2):
            await prepared.wait()
        await batcher.encode_texts([labelled_text(1), labelled_text(2)], QUERY)

    encoder, prepared = GatedEncoder(), asyncio.Event()
    encoder.open()
    async with running_batcher(encoder, query_queue_views=4) as batcher, asyncio.timeout(5):
        with batcher.reserve(QUERY, 1000) as reservation:  # let into an empty lane
            with reservation.preparing(10):
                pass
            await batcher.encode_picture(labelled_picture(3, 4, 5, 6, 7, 8), QUERY, may_block=True)
        asked = asyncio.create_task(prepare_and_ask(), name="asked")
        await let_callers_enter()
        with batcher.reserve(QUERY, 2):
            prepared.set()
            await asked


async def test_parts_whose_caller_leaves_while_they_are_prepared_are_counted(running_batcher: RunningBatcher) -> None:
    async def prepare() -> None:
        with batcher.reserve(QUERY, 10) as reservation, reservation.preparing(10):
            await asyncio.Event().wait()

    async with running_batcher(GatedEncoder()) as batcher:
        leaving = asyncio.create_task(prepare(), name="leaving")
        await let_callers_enter()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert batcher.depth(QUERY).reserved == 0
        registry = batcher.telemetry.metrics.registry
        assert registry.get_sample_value("sidecar_dropped_jobs_total", {"lane": "query"}) == 1
