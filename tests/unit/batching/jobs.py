"""Jobs without callers, for tests of queues and schedulers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedPair
from sidecar.batching.inputs import Inputs, Kind, PairInputs, TextInputs, ViewInputs
from sidecar.batching.job import Job, Lane
from tests.unit.batching.gated_encoder import labelled_text


@dataclass(frozen=True, eq=False)
class NoScorer:
    """A PairScorer that is never called; only its identity matters."""

    model_id: str = "none"

    def prepare_pairs(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        raise NotImplementedError

    def score_pairs(self, pairs: Sequence[PreparedPair]) -> NDArray[np.float32]:
        raise NotImplementedError


SCORER = NoScorer()


def labelled_pair(label: int) -> PreparedPair:
    return PreparedPair(np.full(3, label, np.int64), np.array([0, 0, 1], np.int64), truncated=False)


def make_job(lane: Lane, kind: Kind, labels: Sequence[int] | int) -> Job:
    """A job of items with these labels, or of that many distinct items."""
    numbers = range(labels) if isinstance(labels, int) else labels
    loop = asyncio.new_event_loop()
    try:
        return Job(lane, make_inputs(kind, numbers), loop.create_future())
    finally:
        loop.close()


def make_inputs(kind: Kind, labels: Sequence[int]) -> Inputs:
    if kind is Kind.TEXT:
        return TextInputs([labelled_text(label) for label in labels])
    if kind is Kind.PAIR:
        return PairInputs([labelled_pair(label) for label in labels], SCORER)
    return ViewInputs(np.zeros((len(labels), 2, 2, 3), np.uint8))
