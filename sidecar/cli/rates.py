"""Measures how fast the parts of an ingest are on this machine, each by itself, in turns.

A part is repeated for a moment in each round, and what is compared is measured in the same round, so that a busy moment
affects all of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from sidecar.batching.encoder import Encoder
    from sidecar.pictures.decoder.pool import DecoderPool

MICRO_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LONGEST_CALL_S = 4.0
"""A device that takes longer for a micro-batch is not asked for a larger one."""

Step: TypeAlias = Callable[[], Awaitable[int]]
"""Does a piece of work, and returns how many items that were."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Items per second of a part, in each round. `micro_batch`: of the device, None of other parts."""

    part: str
    unit: str
    rounds: tuple[float, ...]
    micro_batch: int | None = None

    @property
    def median(self) -> float:
        return median(self.rounds)


@dataclass(frozen=True, slots=True)
class Part:
    """A part to measure. `step` is called at least once a round."""

    name: str
    unit: str
    step: Step
    micro_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """Rows per second that the parts allow together: those of the slowest, `part`."""

    rows_per_s: float
    part: str


async def measure_in_rounds(
    parts: Sequence[Part], rounds: int, seconds: float, report: Callable[[str], None]
) -> list[Rate]:
    """Measures each part for `seconds` in every round."""
    measured: dict[int, list[float]] = {index: [] for index in range(len(parts))}
    for number in range(rounds):
        for index, part in enumerate(parts):
            report(f"Round {number + 1} of {rounds}: {part.name} …")
            measured[index].append(await _rate(part.step, seconds))
    return [Rate(part.name, part.unit, tuple(measured[i]), part.micro_batch) for i, part in enumerate(parts)]


async def _rate(step: Step, seconds: float) -> float:
    began = time.perf_counter()
    items = 0
    while (passed_s := time.perf_counter() - began) < seconds or items == 0:
        items += await step()
    return items / passed_s


def find_limit(rows_per_s: Mapping[str, float]) -> Limit:
    """The slowest of the parts, which work side by side."""
    part = min(rows_per_s, key=rows_per_s.__getitem__)
    return Limit(rows_per_s[part], part)


def text_parts(encoder: Encoder, texts: Sequence[str], max_batch: int) -> list[Part]:
    """Tokenising, and the device by the size of its micro-batches. Encodes each size once, to warm the device up."""

    async def tokenise() -> int:
        encoder.prepare_texts(texts)
        return len(texts)

    prepared = [text for text in encoder.prepare_texts(texts) if not text.blank]
    return [Part("tokenising", "texts/s", tokenise), *_device_parts(encoder.encode_texts, prepared, max_batch, "texts")]


async def picture_parts(
    encoder: Encoder, pool: DecoderPool, pictures: Sequence[bytes], max_batch: int
) -> tuple[list[Part], float, int]:
    """Decoding in one process, and the device by the size of its micro-batches; the views of a picture, on average; and
    how many of the pictures cannot be decoded, which are left out.

    Raises InputError if none can be.
    """
    from sidecar.errors import InputError, PictureRejected

    readable: list[bytes] = []
    views: list[Any] = []
    rejected: PictureRejected | None = None
    for picture in pictures:
        try:
            views.append((await pool.decode(picture)).views)
            readable.append(picture)
        except PictureRejected as error:
            rejected = error
    if not readable:
        assert rejected is not None, "there was no picture"
        raise InputError(
            "nothing_to_measure",
            f"none of the {len(pictures)} sampled contents is a picture that can be read. The last: {rejected.message}",
        )
    files = cycle(readable)

    async def decode() -> int:
        await pool.decode(next(files))
        return 1

    per_picture = fmean(map(len, views))
    all_views = np.concatenate(views[:max_batch])
    parts = [Part("decoding into views, one core", "pictures/s", decode)]
    return (
        parts + _device_parts(encoder.encode_views, all_views, max_batch, "views"),
        per_picture,
        len(pictures) - len(readable),
    )


def _device_parts(encode: Callable[[Any], object], items: Any, max_batch: int, what: str) -> list[Part]:
    parts = []
    for size in _sizes(max_batch):
        batch = _repeat(items, size)
        began = time.perf_counter()
        encode(batch)
        encode(batch)
        parts.append(Part(f"device, {what}, micro-batch of {size}", f"{what}/s", _encoding(encode, batch), size))
        if time.perf_counter() - began > 2 * LONGEST_CALL_S:
            break
    return parts


def _sizes(max_batch: int) -> Iterator[int]:
    yield from (size for size in MICRO_BATCHES if size < max_batch)
    yield max_batch


def _repeat(items: Any, size: int) -> Any:
    """`size` of the items, of a list or of an array."""
    indexes = list(islice(cycle(range(len(items))), size))
    return items[indexes] if isinstance(items, np.ndarray) else [items[index] for index in indexes]


def _encoding(encode: Callable[[Any], object], batch: Any) -> Step:
    async def step() -> int:
        encode(batch)
        return len(batch)

    return step
