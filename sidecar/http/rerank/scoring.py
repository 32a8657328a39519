"""How well documents answer a query: texts by the cross-encoder, pictures by the model that embeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.pair_score import pair_logits, sigmoid
from sidecar.batching.reranker import Reranker
from sidecar.errors import InputError
from sidecar.http.embedding import embed_pictures, embed_texts
from sidecar.http.images import ImageSources
from sidecar.http.rerank.documents import RerankDocument
from sidecar.http.service import Serving

ScoreKind: TypeAlias = Literal["cross_encoder", "siglip_pair"]

_NAMES_IN_A_WARNING = 5


@dataclass(frozen=True, slots=True)
class Scores:
    """`raw` is (n,) float32 in the order of the documents; `cut` names what was longer than the model reads.

    `calibrated`: `sigmoid` of it is the probability that the model was trained to give; None: nobody knows.
    """

    kind: ScoreKind
    model: str
    raw: NDArray[np.float32]
    cut: Sequence[str]
    tokens: int | None = None
    calibrated: bool | None = None

    @property
    def warnings(self) -> list[str]:
        """What people should know of them."""
        warnings = []
        if self.cut:
            named, more = ", ".join(self.cut[:_NAMES_IN_A_WARNING]), len(self.cut) - _NAMES_IN_A_WARNING
            warnings.append(f"Longer than the model reads, and cut: {named}{f' and {more} more' if more > 0 else ''}.")
        if self.calibrated is False:
            warnings.append("A picture's vector is the mean of several views (ENABLE_TTA=1): scores are uncalibrated.")
        return warnings

    def shown(self, raw: bool) -> list[float]:
        """As they are, or from 0 to 1."""
        numbers: list[float] = (self.raw if raw else sigmoid(self.raw)).tolist()
        return numbers

    def ranking(self, top_n: int | None = None) -> list[int]:
        """Indexes, the best first, equal ones in the order of the request."""
        indexes: list[int] = np.argsort(-self.raw, kind="stable")[:top_n].tolist()
        return indexes


def require_reranker(serving: Serving) -> Reranker:
    """Raises InputError (`rerank_disabled`, a 404) where RERANK=off."""
    if serving.reranker is None:
        message = (
            "Reranking is switched off here (RERANK=off). Set RERANK=first_use or RERANK=start, and RERANK_MODEL_ID to "
            "the cross-encoder to use."
        )
        raise InputError("rerank_disabled", message)
    return serving.reranker


async def score_texts(
    reranker: Reranker, query: str, documents: Sequence[RerankDocument], max_document_tokens: int | None = None
) -> Scores:
    """By the cross-encoder. Raises RerankModelFailed, TextRejected (`query_too_long`), Overloaded, DeviceError."""
    texts = [document.value for document in documents]
    scored = await reranker.score_documents(query, texts, max_document_tokens)
    cut = [document.param for document, truncated in zip(documents, scored.truncated, strict=True) if truncated]
    return Scores("cross_encoder", reranker.model_id, scored.raw, cut, scored.tokens)


async def score_pictures(
    serving: Serving, images: ImageSources, query: str, documents: Sequence[RerankDocument]
) -> Scores:
    """By the model that embeds: sigmoid(scale · cosine + bias), as it was trained.

    Raises InputError (`unsupported_documents`) for a model that was not, and for pictures that cannot be read;
    Overloaded, DeviceError.
    """
    scale = serving.pair_scale
    if scale is None:
        message = f"{serving.model.id} gives a text and a picture no score of their own; only texts are ranked here."
        raise InputError("unsupported_documents", message, documents[0].param)
    sources = {document.param: partial(images.read, document.value, document.param) for document in documents}
    with serving.embedder.admitted(texts=1, pictures=len(sources)) as place:
        (words,) = await embed_texts(serving.embedder, [query], ["query"], place)
        pictures = await embed_pictures(serving.embedder, sources, place)
    cosines = np.stack([picture.vector for picture in pictures]) @ words.vector
    cut = ["query"] if words.truncated else []
    raw = pair_logits(scale, cosines)
    return Scores("siglip_pair", serving.model.id, raw, cut, calibrated=not serving.uses_tta)
