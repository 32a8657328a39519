"""`/rerank`, `/v1/rerank` and `/v2/rerank`, for clients of Cohere, Jina, vLLM, infinity, text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.reranker import Reranker
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.answer_parts import COMPUTE_TOKENS
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.model_names import check_model_name
from sidecar.http.models import GetModels, Models
from sidecar.http.operation import Operation, Scope
from sidecar.http.rerank.answers import RerankAnswers, documents_response, texts_response
from sidecar.http.rerank.bodies import RerankBody
from sidecar.http.rerank.documents import check_query, read_documents
from sidecar.http.rerank.scoring import Scores, score_documents

_PATHS = {
    "/rerank": ("2", "Rank documents (infinity's, vLLM's and text-embeddings-inference's API)"),
    "/v1/rerank": ("1", "Rank documents (Jina's API, and Cohere's, version 1)"),
    "/v2/rerank": ("2", "Rank documents (Cohere's API, version 2)"),
}


class RerankEndpoints:
    """One endpoint under the paths of several APIs. A bad document fails the request, and is named: `documents[3]`.

    An empty document is ranked last. `aliases` are further names of the cross-encoder.
    """

    def __init__(
        self, get_models: GetModels, limits: RequestLimits, images: ImageLoader, aliases: Collection[str]
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._aliases = aliases

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("POST", path, partial(self.rerank, version=version), summary, Scope.EMBED),
                RerankAnswers,
                RerankBody,
                errors=(404, 429, 503, 504),
                headers=(COMPUTE_TOKENS,),
            )
            for path, (version, summary) in _PATHS.items()
        ]

    async def rerank(self, request: Request, version: str) -> Response:
        """Scores and orders the documents. `documents` are answered in the shape of that `version` of Cohere's API."""
        models, reranker = self._models_with_capacity()
        limits = self._limits
        body = await read_json(request, RerankBody, limits)
        check_model_name(body.model, reranker.model_id, self._aliases)
        check_query(body.query, limits)
        documents = read_documents(body, limits)
        scoring = score_documents(models, reranker, self._images, body.query, documents, body.max_tokens_per_doc)
        scores = await cancel_on_disconnect(request, scoring)
        if body.truncate is False:
            _reject_truncated(scores)
        if body.texts is not None:
            return texts_response(body, body.texts, scores)
        return documents_response(body, body.documents or [], scores, version)

    def _models_with_capacity(self) -> tuple[Models, Reranker]:
        """To be called before the body is read.

        Raises NotReady, InputError (`rerank_disabled`), and Overloaded if the rerank lane is full.
        """
        models = self._get_models()
        reranker = models.require_reranker()
        reranker.reject_if_full()
        return models, reranker


def _reject_truncated(scores: Scores) -> None:
    if scores.truncated:
        name = scores.truncated[0]
        message = f"`{name}` is longer than the model reads (RERANK_MAX_TOKENS), and `truncate` is false."
        raise InputError("text_too_long", message, name)
