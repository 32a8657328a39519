"""Scores documents against a query: texts by the cross-encoder, pictures by the embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import pair_logits, sigmoid
from sidecar.batching.reranker import Reranker
from sidecar.errors import InputError, TextRejected
from sidecar.http.embed.all_or_none import embed_pictures, embed_texts
from sidecar.http.images.loader import ImageLoader
from sidecar.http.models import Models
from sidecar.http.rerank.documents import RerankDocument
from sidecar.inner_products import inner_products

ScoreKind: TypeAlias = Literal["cross_encoder", "siglip_pair"]

_NAMES_IN_A_WARNING = 5
_LOWEST = np.finfo(np.float32).min  # JSON has no infinity


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of all documents of a request.

    `raw` is (n,) float32 in the order of the documents. `truncated` names inputs longer than the model reads. `empty`
    names blank documents, whose raw score is the lowest float32, 0 after `sigmoid`. `tokens` counts what was read; a
    picture counts its views. `calibrated` says whether `sigmoid` of a raw score is the probability that the model was
    trained to give; None if unknown.
    """

    kind: ScoreKind
    model: str
    raw: NDArray[np.float32]
    truncated: Sequence[str]
    tokens: int
    calibrated: bool | None = None
    empty: Sequence[str] = ()

    @property
    def warnings(self) -> list[str]:
        """Warnings for the answer."""
        warnings = []
        if self.truncated:
            warnings.append(f"Longer than the model reads, and cut: {_abbreviate(self.truncated)}.")
        if self.empty:
            warnings.append(f"Empty, and ranked last: {_abbreviate(self.empty)}.")
        if self.calibrated is False:
            warnings.append("A picture's vector is the mean of several views (ENABLE_TTA=1): scores are uncalibrated.")
        return warnings

    def values(self, raw: bool) -> list[float]:
        """Raw scores, or scores from 0 to 1."""
        numbers: list[float] = (self.raw if raw else sigmoid(self.raw)).tolist()
        return numbers

    def ranking(self, top_n: int | None = None) -> list[int]:
        """Indexes of the documents by descending score; equal scores keep the order of the request."""
        indexes: list[int] = np.argsort(-self.raw, kind="stable")[:top_n].tolist()
        return indexes


async def score_documents(
    models: Models,
    reranker: Reranker,
    images: ImageLoader,
    query: str,
    documents: Sequence[RerankDocument],
    max_document_tokens: int | None = None,
) -> Scores:
    """Scores texts by the cross-encoder, pictures by the embedding model; blank texts get the lowest score unread.

    Raises InputError, RerankModelFailed, TextRejected (`query_too_long`, `no_score`), Overloaded, DeviceError.
    """
    with_content = [document for document in documents if not document.is_empty]
    if with_content and with_content[0].is_picture:
        scores = await _score_pictures(models, images, query, with_content)
    else:
        scores = await _score_texts(reranker, query, with_content, max_document_tokens)
    if len(with_content) == len(documents):
        return scores
    raw = np.full(len(documents), _LOWEST, np.float32)
    raw[[not document.is_empty for document in documents]] = scores.raw
    return replace(scores, raw=raw, empty=[document.param for document in documents if document.is_empty])


async def _score_texts(
    reranker: Reranker, query: str, documents: Sequence[RerankDocument], max_document_tokens: int | None
) -> Scores:
    texts = [document.value for document in documents]
    scored = await reranker.score_documents(query, texts, max_document_tokens)
    for document, raw in zip(documents, scored.raw, strict=True):
        if np.isnan(raw):
            message = (
                f"The model computes no finite score for the query and `{document.param}`. Try MODEL_PRECISION=fp32."
            )
            raise TextRejected("no_score", message, document.param)
    truncated = [document.param for document, is_cut in zip(documents, scored.truncated, strict=True) if is_cut]
    return Scores("cross_encoder", reranker.model_id, scored.raw, truncated, scored.tokens)


async def _score_pictures(
    models: Models, images: ImageLoader, query: str, documents: Sequence[RerankDocument]
) -> Scores:
    """Scores whose sigmoid(scale · cosine + bias) the embedding model was trained on.

    Raises InputError (`unsupported_documents`) if the model has no such scale; InputError and PictureRejected for
    pictures that cannot be read; Overloaded, DeviceError.
    """
    scale = models.pair_scale
    if scale is None:
        message = (
            f"{models.embedding_model.id} gives a text and a picture no score of their own; only texts are ranked here."
        )
        raise InputError("unsupported_documents", message, documents[0].param)
    sources = {document.param: partial(images.load, document.value, document.param) for document in documents}
    with models.embedder.reserve(texts=1, pictures=len(sources)) as reservation:
        (text,) = await embed_texts(models.embedder, [query], ["query"], reservation)
        pictures = await embed_pictures(models.embedder, sources, reservation)
    cosines = inner_products(np.stack([picture.vector for picture in pictures]), text.vector[None])[:, 0]
    truncated = ["query"] if text.truncated else []
    tokens = text.tokens + sum(picture.tokens for picture in pictures)
    raw = pair_logits(scale, cosines)
    return Scores("siglip_pair", models.embedding_model.id, raw, truncated, tokens, calibrated=not models.uses_tta)


def _abbreviate(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_IN_A_WARNING
    return ", ".join(names[:_NAMES_IN_A_WARNING]) + (f" and {more} more" if more > 0 else "")
