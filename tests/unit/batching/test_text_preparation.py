"""Where texts are tokenised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.encoder import PreparedText
from sidecar.batching.text_preparation import TextPreparation
from tests.encoders import HashEncoder
from tests.waiting import wait_until_async

PATIENCE_S = 10.0


class WatchedEncoder(HashEncoder):
    """Shows who prepares what; a text that begins with "wait" waits for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[tuple[str, list[int]]] = []
        self.go = threading.Event()

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        self.prepared.append((threading.current_thread().name, [len(text) for text in texts]))
        if texts and texts[0].startswith("wait"):
            assert self.go.wait(PATIENCE_S)
        return super().prepare_texts(texts)

    @property
    def places(self) -> list[bool]:
        """Whether each was prepared on the spot."""
        return [thread == threading.main_thread().name for thread, _ in self.prepared]


async def test_short_texts_are_prepared_on_the_spot_and_long_ones_in_a_thread() -> None:
    encoder = WatchedEncoder()
    preparation = TextPreparation(encoder)
    await preparation.prepare(["a red bicycle", "a ship"])
    await preparation.prepare(["x" * 201])
    assert encoder.places == [True, False]


async def test_nobody_waits_on_the_loop_for_a_tokenizer_that_a_thread_has() -> None:
    encoder = WatchedEncoder()
    preparation = TextPreparation(encoder)
    in_hand = asyncio.create_task(preparation.prepare(["wait" + "x" * 300]), name="long")

    async def is_in_hand() -> bool:
        return len(encoder.prepared) == 1

    await wait_until_async(is_in_hand, "the thread")
    await preparation.prepare(["short"])
    in_hand.cancel()  # its thread goes on
    await asyncio.wait([in_hand])
    await preparation.prepare(["short"])
    assert encoder.places == [False, False, False]
    encoder.go.set()

    async def is_prepared_on_the_spot() -> bool:
        await preparation.prepare(["short"])
        return encoder.places[-1]

    await wait_until_async(is_prepared_on_the_spot, "the end of the thread")


@given(st.lists(st.integers(0, 20_000), max_size=20))
def test_no_thread_has_the_tokenizer_for_more_than_a_few_texts(lengths: list[int]) -> None:
    encoder = WatchedEncoder()
    texts = [chr(97 + index % 26) * length for index, length in enumerate(lengths)]
    prepared = asyncio.run(TextPreparation(encoder).prepare(texts))
    assert [length for _, run in encoder.prepared for length in run] == lengths
    assert all(len(run) == 1 or sum(run) <= 8_000 for _, run in encoder.prepared)
    expected = HashEncoder().prepare_texts(texts)
    assert [one.token_ids.tobytes() for one in prepared] == [one.token_ids.tobytes() for one in expected]
