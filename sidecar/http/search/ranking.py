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
    """A found row, with its score from 0 to 1 if it was reranked."""

    row: NearestRow
    score: float | None


async def rerank_rows(reranker: Reranker, text: str, rows: Sequence[NearestRow]) -> list[RankedRow]:
    """Rows by descending score. Equal scores keep the order of `rows`.

    Rows without a text or a finite score come last, with None for a score.

    Raises InputError, Overloaded, DeviceError, and the errors of loading the model.
    """
    with_text = [row for row in rows if (row.document or "").strip()]
    without = [RankedRow(row, None) for row in rows if not (row.document or "").strip()]
    if not with_text:
        return without
    try:
        raw = await reranker.score(text, [row.document or "" for row in with_text])
    except TextRejected as error:
        raise TextRejected(error.code, f"`text`: {error.message}", "text") from error
    scores = sigmoid(raw).tolist()
    has_score = np.isfinite(raw)
    best = sorted(np.flatnonzero(has_score).tolist(), key=lambda index: -raw[index])
    unscored = [RankedRow(with_text[index], None) for index in np.flatnonzero(~has_score).tolist()]
    return [RankedRow(with_text[index], scores[index]) for index in best] + unscored + without
