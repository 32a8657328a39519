"""`/embed`, `/similarity`, `/info` and `/health`, for clients of text-embeddings-inference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import sidecar
from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.http.bodies.json_body import read_json
from sidecar.http.embed.all_or_none import models_with_capacity
from sidecar.http.embed.answer_parts import COMPUTE_TOKENS, VECTOR_HEADERS, compute_tokens_header, vector_headers
from sidecar.http.embed.body_parts import reject_token_ids, text_contents
from sidecar.http.embed.contents import Content, ContentEmbedder, check_contents, check_dimensions, reject_truncated
from sidecar.http.headers import prefers_html
from sidecar.http.json_response import JsonResponse, LargeJsonResponse, serialize_list
from sidecar.http.middleware.paths import root_path_of
from sidecar.http.models import ModelInfo, Models
from sidecar.http.operation import Endpoint, MediaType, Operation, Scope
from sidecar.http.tei.bodies import (
    EmbedAnswer,
    EmbedBody,
    InfoAnswer,
    ModelType,
    Pooling,
    SimilarityAnswer,
    SimilarityBody,
    UnixTime,
)
from sidecar.http.tei.errors import TeiError
from sidecar.inner_products import inner_products
from sidecar.readiness import Readiness

_HEADERS = (*VECTOR_HEADERS, COMPUTE_TOKENS)
_HEALTH_PATHS = {
    "/health": "Health check as in infinity, vLLM and others: whether queries can be embedded",
    "/ping": "Health check for SageMaker",
}
_ROOT = "Health check for Hugging Face's endpoints"
_DOCS = "docs"  # below the root, wherever a proxy puts it


class TeiEndpoints:
    """The endpoints of text-embeddings-inference. A bad input fails its whole batch, and is named: `inputs[2]`.

    `page` is what a browser gets at `/`; without one it is redirected to `/docs`.
    """

    def __init__(self, embedder: ContentEmbedder, readiness: Readiness, page: Endpoint | None = None) -> None:
        self._embedder = embedder
        self._readiness = readiness
        self._page = page

    def operations(self) -> list[Operation]:
        embed = "Embed texts (text-embeddings-inference's API)"
        similarity = "Compare sentences (text-embeddings-inference's API)"
        info = "Describe the served model (text-embeddings-inference's API)"
        return [
            *(_embedding_operation(path, self.embed, embed, (EmbedBody, EmbedAnswer)) for path in ("/embed", "/")),
            _embedding_operation("/similarity", self.similarity, similarity, (SimilarityBody, SimilarityAnswer)),
            Operation(*("GET", "/info", self.info, info, Scope.EMBED, InfoAnswer), errors=(503, 504), error=TeiError),
            *(_health_operation(path, self.health, summary) for path, summary in _HEALTH_PATHS.items()),
            self._root_operation(),
        ]

    def _root_operation(self) -> Operation:
        if self._page is None:
            redirect = "To `/docs`, for a client whose `Accept` names text/html."
            return _health_operation("/", self.root, f"{_ROOT}; browsers are redirected to /docs", redirect)
        operation = _health_operation("/", self.root, f"{_ROOT}; browsers are shown the console")
        return replace(operation, other_media=(MediaType.HTML,))

    async def embed(self, request: Request) -> Response:
        models = models_with_capacity(self._embedder.get_models)
        reject = partial(reject_token_ids, field="inputs")
        body = await read_json(request, EmbedBody, self._embedder.limits, reject)
        check_dimensions(body.dimensions, models.embedding_model.dim, "dimensions")
        embedded = await self._embed(request, models, text_contents(body.inputs, "inputs"), truncate=body.truncate)
        vectors = await serialize_list(result.vector for result in embedded)
        return LargeJsonResponse(vectors, headers=_headers(embedded, models.embedding_model))

    async def similarity(self, request: Request) -> Response:
        models = models_with_capacity(self._embedder.get_models)
        body = await read_json(request, SimilarityBody, self._embedder.limits)
        sentences = text_contents(body.inputs.sentences, "inputs.sentences")
        check_contents(sentences, "inputs.sentences", self._embedder.limits)
        contents = [Content("inputs.source_sentence", body.inputs.source_sentence), *sentences]
        truncate = None if body.parameters is None else body.parameters.truncate
        embedded = await self._embed(request, models, contents, truncate=truncate)
        source, *others = (result.vector for result in embedded)
        cosines = inner_products(np.stack(others), source[None])[:, 0]
        return JsonResponse(cosines, headers=_headers(embedded, models.embedding_model))

    async def info(self, _request: Request) -> Response:
        models = self._embedder.get_models()
        embedder, model = models.embedder, models.embedding_model
        return JsonResponse(
            InfoAnswer(
                model_id=model.id,
                model_sha=model.fingerprint,
                model_dtype="float32",
                served_model_name=model.id,
                model_type=ModelType(embedding=Pooling(pooling="model")),
                max_concurrent_requests=models.lane_depth(Lane.QUERY).capacity,
                max_input_length=embedder.context_length,
                max_batch_tokens=embedder.context_length * embedder.max_batch_views,
                max_batch_requests=embedder.max_batch_views,
                max_client_batch_size=self._embedder.limits.max_batch_texts,
                tokenization_workers=embedder.preparation_threads,
                version=sidecar.__version__,
            )
        )

    async def health(self, _request: Request) -> Response:
        """Like /readyz. Raises NotReady, a 503."""
        self._readiness.check()
        return JsonResponse(UnixTime(unix=time.time()))

    async def root(self, request: Request) -> Response:
        """The console or a redirect for a browser, ready or not; health for others. Raises NotReady, a 503."""
        varies = {"Vary": "Accept"}
        if not prefers_html(request.scope):
            answer = await self.health(request)
            answer.headers.update(varies)
            return answer
        if self._page is not None:
            page = await self._page(request)
            page.headers.update(varies)
            return page
        root_path = root_path_of(request.scope)
        return RedirectResponse(f"{root_path}/{_DOCS}" if root_path else _DOCS, 307, varies)

    async def _embed(
        self, request: Request, models: Models, contents: Sequence[Content], *, truncate: bool | None
    ) -> list[Embedded]:
        embedded = await self._embedder.embed(request, models, contents, "inputs")
        if truncate is False:
            reject_truncated(contents, embedded, "`truncate` is false")
        return embedded


def _headers(embedded: Sequence[Embedded], model: ModelInfo) -> dict[str, str]:
    tokens = sum(result.tokens for result in embedded)
    return vector_headers(embedded, model) | compute_tokens_header(tokens)


def _embedding_operation(
    path: str, endpoint: Endpoint, summary: str, models: tuple[type[BaseModel], type[BaseModel]]
) -> Operation:
    request, response = models
    return Operation(
        *("POST", path, endpoint, summary, Scope.EMBED, response, request),
        errors=(429, 503, 504),
        headers=_HEADERS,
        error=TeiError,
    )


def _health_operation(path: str, endpoint: Endpoint, summary: str, redirect: str | None = None) -> Operation:
    return Operation(
        *("GET", path, endpoint, summary, None, UnixTime),
        deadline=False,
        errors=(503,),
        error=TeiError,
        redirect=redirect,
    )
