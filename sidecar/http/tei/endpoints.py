"""`/embed`, `/similarity`, `/info` and `/health`: clients of text-embeddings-inference work unmodified."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

import sidecar
from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.answer_parts import COMPUTE_TOKENS, VECTOR_HEADERS, compute_tokens_header, vector_headers
from sidecar.http.embed.contents import (
    Content,
    check_contents,
    embed_contents,
    refuse_cut_texts,
    refuse_token_ids,
    require_dimensions,
    text_contents,
)
from sidecar.http.images.loader import ImageLoader
from sidecar.http.json_response import JsonResponse, LongJsonResponse, write_in_turns
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels
from sidecar.http.operation import Endpoint, Operation, Scope
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
from sidecar.readiness import Readiness

_HEADERS = (*VECTOR_HEADERS, COMPUTE_TOKENS)
_HEALTH_PATHS = {
    "/health": "Whether queries can be embedded, as infinity, vLLM and others say it",
    "/ping": "The same, as SageMaker asks",
    "/": "The same, as Hugging Face's endpoints ask",
}


class TeiEndpoints:
    """A batch is answered whole or not at all, and what is wrong is named: `inputs[2]`."""

    def __init__(self, get_models: GetModels, limits: RequestLimits, images: ImageLoader, readiness: Readiness) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._readiness = readiness

    def operations(self) -> list[Operation]:
        embed = "Vectors of texts, as text-embeddings-inference gives them"
        similarity = "How alike sentences are, as text-embeddings-inference says it"
        info = "What is served, as text-embeddings-inference says it"
        return [
            *(_embeds(path, self.embed, embed, (EmbedBody, EmbedAnswer)) for path in ("/embed", "/")),
            _embeds("/similarity", self.similarity, similarity, (SimilarityBody, SimilarityAnswer)),
            Operation(*("GET", "/info", self.info, info, Scope.EMBED, InfoAnswer), errors=(503, 504), error=TeiError),
            *(self._health(path, summary) for path, summary in _HEALTH_PATHS.items()),
        ]

    async def embed(self, request: Request) -> Response:
        models = self._get_models()
        models.embedder.reject_if_full(Lane.QUERY)
        look = partial(refuse_token_ids, field="inputs")
        body = await read_json(request, EmbedBody, self._limits, look)
        require_dimensions(body.dimensions, models.embedding_model.dim, "dimensions")
        contents = text_contents(body.inputs, "inputs")
        embedded = await self._embed(request, contents, "inputs", may_cut=body.truncate is not False)
        vectors = await write_in_turns(one.vector for one in embedded)
        return LongJsonResponse(vectors, headers=self._headers(embedded))

    async def similarity(self, request: Request) -> Response:
        self._get_models().embedder.reject_if_full(Lane.QUERY)
        body = await read_json(request, SimilarityBody, self._limits)
        contents = [
            Content("inputs.source_sentence", body.inputs.source_sentence),
            *text_contents(body.inputs.sentences, "inputs.sentences"),
        ]
        check_contents(contents[1:], "inputs.sentences", self._limits)
        may_cut = body.parameters is None or body.parameters.truncate is not False
        embedded = await self._embed(request, contents, "inputs", may_cut=may_cut)
        source, *sentences = (one.vector for one in embedded)
        return JsonResponse(np.stack(sentences) @ source, headers=self._headers(embedded))

    async def info(self, _request: Request) -> Response:
        models = self._get_models()
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
                max_client_batch_size=self._limits.max_batch_texts,
                tokenization_workers=embedder.preparation_threads,
                version=sidecar.__version__,
            )
        )

    async def health(self, _request: Request) -> Response:
        """As /readyz. Raises NotReady, which is answered with 503."""
        self._readiness.check()
        return JsonResponse(UnixTime(unix=time.time()))

    async def _embed(
        self, request: Request, contents: Sequence[Content], param: str, *, may_cut: bool
    ) -> list[Embedded]:
        check_contents(contents, param, self._limits)
        work = embed_contents(self._get_models(), self._images, contents)
        embedded = await cancel_on_disconnect(request, work)
        if not may_cut:
            refuse_cut_texts(contents, embedded, "`truncate` is false")
        return embedded

    def _headers(self, embedded: Sequence[Embedded]) -> dict[str, str]:
        tokens = sum(one.tokens for one in embedded)
        return vector_headers(embedded, self._get_models().embedding_model) | compute_tokens_header(tokens)

    def _health(self, path: str, summary: str) -> Operation:
        return Operation(
            *("GET", path, self.health, summary, None, UnixTime), deadline=False, errors=(503,), error=TeiError
        )


def _embeds(path: str, endpoint: Endpoint, summary: str, models: tuple[type[BaseModel], type[BaseModel]]) -> Operation:
    request, response = models
    return Operation(
        *("POST", path, endpoint, summary, Scope.EMBED, response, request),
        errors=(429, 503, 504),
        headers=_HEADERS,
        error=TeiError,
    )
