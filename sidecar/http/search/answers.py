"""Answers of `POST /search`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from sidecar.batching.encoder import PairScale, pair_logits, sigmoid
from sidecar.http.body_models import AnswerModel
from sidecar.http.embed.answers import UNREADABLE
from sidecar.http.json_response import JsonResponse
from sidecar.http.search.finding import ResolvedSearch
from sidecar.http.search.pages import next_page
from sidecar.http.search.ranking import RankedRow
from sidecar.http.search.stages import StageClock
from sidecar.http.watches.fitness import warnings_of

_UNCALIBRATED = (
    "match_probability is not calibrated: with ENABLE_TTA a picture's vector is the mean of several views, for which "
    "the model's scale was not trained. Compare the numbers with each other only."
)


class FoundRow(AnswerModel):
    """`distance` is the cosine distance of the vectors, 0 to 2; null for a row without a vector."""

    key: dict[str, JsonValue]
    distance: float | None
    columns: dict[str, JsonValue]
    match_probability: float | None = Field(description="Probability that text and picture match, else null.")
    rerank_score: float | None
    score: float | None = Field(description="With `hybrid` or `targets`: the fused score.")
    vector_rank: int | None = Field(description="With `hybrid`: the place by distance; null: not among the nearest.")
    text_rank: int | None = Field(description="With `hybrid`: the place by full text; null: not among the matches.")
    distances: dict[str, float | None] | None = Field(
        description="With `targets`: the distance in each of them; `distance` is the least."
    )
    ranks: dict[str, int | None] | None = Field(
        description="With `targets`: the place by distance in each of them; null: not among its nearest."
    )
    similarity_above: float | None = Field(
        description="With `diversity`: the highest cosine with a row above it. Null for the first row."
    )


class SearchedTable(AnswerModel):
    """The watch that was searched."""

    table: str
    target: str
    kind: str


class StagesMs(AnswerModel):
    """Milliseconds of each stage; null: not a part of this search."""

    text: float | None = Field(description="Encoding texts, with the wait for the device.")
    picture: float | None = Field(description="Decoding and encoding pictures, with the wait for the device.")
    database: float | None
    rerank: float | None
    diversity: float | None


class SearchAnswer(AnswerModel):
    """Rows, nearest first, or best first if they were reranked."""

    results: list[FoundRow]
    next: str | None = Field(description="`after` for the next page; null: there is none, or `offset` has to be used.")
    watch: SearchedTable = Field(description="The first of `watches`.")
    watches: list[SearchedTable] = Field(description="One, or those of `targets` in their order.")
    model: str
    fingerprint: str
    truncated: bool = Field(description="The text was longer than the model reads.")
    unreadable: bool = Field(description=UNREADABLE)
    match_probability_calibrated: bool | None = Field(description="False: only the order counts. Null: there is none.")
    rerank_model: str | None
    warnings: list[str] = Field(description="What limits the results: a paused watch, exposed columns that are gone …")
    took_ms: float
    stages_ms: StagesMs
    replica_lag_s: float | None = Field(description="Of the standby that the rows were read from; null: the primary.")


def search_response(
    search: ResolvedSearch, found: Sequence[RankedRow], clock: StageClock, lag_s: float | None
) -> JsonResponse:
    """A SearchAnswer. Keys and columns are Postgres' own JSON, with all the digits of their numbers."""
    scale = _pair_scale(search)
    watches = [{"table": each.table_name, "target": each.target, "kind": each.kind} for each in search.watches]
    calibrated = None if scale is None else not search.models.uses_tta
    distances = np.array([np.nan if row.distance is None else row.distance for row, *_ in found], np.float32)
    return JsonResponse(
        {
            "results": [
                _found_row(search, ranked, probability)
                for ranked, probability in zip(found, _probabilities(scale, distances), strict=True)
            ],
            "next": next_page(search.body, search.models.embedding_model.fingerprint, [ranked.row for ranked in found]),
            "watch": watches[0],
            "watches": watches,
            "model": search.models.embedding_model.id,
            "fingerprint": search.models.embedding_model.fingerprint,
            "truncated": search.embedded.truncated,
            "unreadable": search.embedded.unreadable,
            "match_probability_calibrated": calibrated,
            "rerank_model": _rerank_model(search),
            "warnings": _warnings(search) + ([_UNCALIBRATED] if calibrated is False else []),
            "took_ms": round(clock.took_ms(), 3),
            "stages_ms": clock.spent_ms(),
            "replica_lag_s": None if lag_s is None else round(lag_s, 3),
        }
    )


def _found_row(search: ResolvedSearch, ranked: RankedRow, probability: float | None) -> dict[str, Any]:
    return {
        "key": orjson.Fragment(ranked.row.key),
        "distance": ranked.row.distance,
        "columns": orjson.Fragment(ranked.row.shown),
        "match_probability": probability,
        "rerank_score": ranked.score,
        "score": ranked.row.score,
        "vector_rank": ranked.row.vector_rank,
        "text_rank": ranked.row.text_rank,
        "distances": _by_target(search, ranked.row.distances),
        "ranks": _by_target(search, ranked.row.ranks),
        "similarity_above": ranked.similarity_above,
    }


def _by_target(search: ResolvedSearch, found: str | None) -> dict[str, Any] | None:
    """Figures of a row, with null for targets that hold no vectors yet."""
    if found is None:
        return None
    figures = orjson.loads(found)
    return {watch.target: figures.get(watch.target) for watch in search.watches}


def _warnings(search: ResolvedSearch) -> list[str]:
    """What limits the results; of several targets, each warning names its own."""
    if len(search.watches) == 1:
        return warnings_of(search.watches[0])
    return [f"{watch.target}: {warning}" for watch in search.watches for warning in warnings_of(watch)]


def _pair_scale(search: ResolvedSearch) -> PairScale | None:
    """By what a distance becomes a probability; None unless a text finds pictures or a picture texts, as trained.

    The least distance in several targets is of either kind.
    """
    if search.body.targets is not None:
        return None
    query_kind = "text" if search.body.text is not None else "image" if search.body.image is not None else None
    is_pair = {query_kind, search.watches[0].kind} == {"text", "image"}
    return search.models.pair_scale if is_pair else None


def _probabilities(scale: PairScale | None, distances: NDArray[np.float32]) -> list[float] | list[None]:
    if scale is None:
        return [None] * len(distances)
    probabilities: list[float] = sigmoid(pair_logits(scale, 1 - distances)).tolist()
    return probabilities


def _rerank_model(search: ResolvedSearch) -> str | None:
    if search.body.rerank is None or search.models.reranker is None:
        return None
    return search.models.reranker.model_id
