"""Reranks found rows by a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sidecar.batching.encoder import sigmoid
from sidecar.batching.reranker import Reranker
from sidecar.errors import TextRejected
from sidecar.postgres.search import NearestRow


class RankedRow(NamedTuple):
    """A found row, with its score from 0 to 1 if it was reranked.

    `relevance` is what it was ranked by last, higher is better; None: the reranker had no score for it.
    `similarity_above` is its highest cosine with a row above it, if the rows are diverse.
    """

    row: NearestRow
    score: float | None
    relevance: float | None
    similarity_above: float | None = None


def as_found(row: NearestRow) -> RankedRow:
    """A row that is not reranked."""
    return RankedRow(row, None, row.relevance)


async def rerank_rows(reranker: Reranker, text: str, rows: Sequence[NearestRow]) -> list[RankedRow]:
    """Rows by descending score. Equal scores keep the order of `rows`.

    Rows without a text or a finite score come last, with None for a score.

    Raises InputError, Overloaded, DeviceError, and the errors of loading the model.
    """
    with_text = [row for row in rows if (row.document or "").strip()]
    without = [RankedRow(row, None, None) for row in rows if not (row.document or "").strip()]
    if not with_text:
        return without
    try:
        raw = await reranker.score(text, [row.document or "" for row in with_text])
    except TextRejected as error:
        raise TextRejected(error.code, f"`text`: {error.message}", "text") from error
    scores = sigmoid(raw).tolist()
    has_score = np.isfinite(raw)
    best = sorted(np.flatnonzero(has_score).tolist(), key=lambda index: -raw[index])
    unscored = [RankedRow(with_text[index], None, None) for index in np.flatnonzero(~has_score).tolist()]
    return [RankedRow(with_text[index], scores[index], scores[index]) for index in best] + unscored + without
