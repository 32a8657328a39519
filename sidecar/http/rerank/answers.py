"""Answers of the rerank endpoints: Cohere's shape with the additions of Jina, vLLM and infinity, or a plain list."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, RootModel

from sidecar.http.body_models import AnswerModel
from sidecar.http.embed.answer_parts import ApiVersion, Usage, compute_tokens_header
from sidecar.http.json_response import JsonResponse
from sidecar.http.rerank.bodies import DocumentObject, RerankBody
from sidecar.http.rerank.scoring import ScoreKind, Scores

_DOCUMENTS_PER_UNIT = 100  # as Cohere counts


class RankedText(AnswerModel):
    index: int
    score: float
    text: str | None = Field(default=None, description="Only with `return_text`.")


class RankedDocument(AnswerModel):
    index: int
    relevance_score: float
    document: dict[str, Any] | None = Field(default=None, description="Only with `return_documents`.")


class BilledUnits(AnswerModel):
    """Nothing is billed; as at Cohere, a query with up to 100 documents counts as one."""

    search_units: int


class Tokens(AnswerModel):
    """What was read: the query with each document; for a picture, its views."""

    input_tokens: int


class Meta(AnswerModel):
    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: Tokens
    warnings: list[str] | None = None


class RerankAnswer(AnswerModel):
    """Best first; documents with equal scores keep the order of the request."""

    id: str
    object: Literal["rerank"] = "rerank"
    results: list[RankedDocument]
    model: str
    score_kind: ScoreKind = Field(
        description="cross_encoder for texts, siglip_pair for pictures. The two cannot be compared."
    )
    calibrated: bool | None = Field(
        default=None, description="Whether a siglip_pair score is the probability that the model was trained to give."
    )
    usage: Usage = Field(description="The same counts as in `meta.tokens`, where Jina, vLLM and infinity put them.")
    meta: Meta


class RerankAnswers(RootModel[RerankAnswer | list[RankedText]]):
    """An object for `documents`, a list for `texts`."""


def texts_response(body: RerankBody, texts: Sequence[str], scores: Scores) -> JsonResponse:
    """A list of RankedText, as text-embeddings-inference answers."""
    values = scores.values(body.raw_scores)
    ranked = [
        RankedText(index=index, score=values[index], text=texts[index] if body.return_text else None)
        for index in scores.ranking(body.top_n)
    ]
    headers = compute_tokens_header(scores.tokens)
    return JsonResponse([each.model_dump(exclude_none=True) for each in ranked], headers=headers)


def documents_response(
    body: RerankBody, documents: Sequence[str | DocumentObject], scores: Scores, version: str
) -> JsonResponse:
    """A RerankAnswer; `version` is that of Cohere's API."""
    values = scores.values(body.raw_scores)
    results = [
        RankedDocument(
            index=index,
            relevance_score=values[index],
            document=_echo_document(documents[index], scores.kind) if body.return_documents else None,
        )
        for index in scores.ranking(body.top_n)
    ]
    answer = RerankAnswer(
        id=str(uuid.uuid4()),
        results=results,
        model=scores.model,
        score_kind=scores.kind,
        calibrated=scores.calibrated,
        usage=Usage(prompt_tokens=scores.tokens, total_tokens=scores.tokens),
        meta=_meta(scores, version),
    )
    return JsonResponse(answer.model_dump(exclude_none=True), headers=compute_tokens_header(scores.tokens))


def _meta(scores: Scores, version: str) -> Meta:
    return Meta(
        api_version=ApiVersion(version=version),
        billed_units=BilledUnits(search_units=math.ceil(len(scores.raw) / _DOCUMENTS_PER_UNIT)),
        tokens=Tokens(input_tokens=scores.tokens),
        warnings=list(scores.warnings) or None,
    )


def _echo_document(document: str | DocumentObject, kind: ScoreKind) -> dict[str, Any]:
    if isinstance(document, str):
        return {"text" if kind == "cross_encoder" else "image": document}
    return document.model_dump(exclude_unset=True)
