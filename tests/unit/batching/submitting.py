"""Callers of a batcher: tasks that submit labelled inputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.encoder import PairScorer
from sidecar.batching.job import Lane
from tests.unit.batching.gated_encoder import labelled_picture, labelled_text
from tests.unit.batching.jobs import labelled_pair

QUERY, RERANK, INGEST = Lane.QUERY, Lane.RERANK, Lane.INGEST
Waiter: TypeAlias = asyncio.Task[NDArray[np.float32]]


def submit_text(batcher: Batcher, label: int, lane: Lane = QUERY) -> Waiter:
    return submit_texts(batcher, [label], lane)


def submit_texts(batcher: Batcher, labels: Sequence[int], lane: Lane = QUERY) -> Waiter:
    texts = [labelled_text(label) for label in labels]
    return asyncio.create_task(batcher.encode_texts(texts, lane), name=f"texts {labels}")


def submit_picture(batcher: Batcher, *labels: int, lane: Lane = QUERY) -> Waiter:
    return asyncio.create_task(batcher.encode_picture(labelled_picture(*labels), lane), name=f"picture {labels}")


def submit_pairs(batcher: Batcher, scorer: PairScorer, *labels: int) -> Waiter:
    pairs = [labelled_pair(label) for label in labels]
    return asyncio.create_task(batcher.score_pairs(scorer, pairs), name=f"pairs {labels}")


async def let_callers_run() -> None:
    """Run all tasks created before up to their first wait."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
