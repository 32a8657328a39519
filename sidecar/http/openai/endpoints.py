"""`/v1/embeddings` and `/v1/models`, for OpenAI's clients."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.embed.all_or_none import models_with_capacity
from sidecar.http.embed.answer_parts import VECTOR_HEADERS
from sidecar.http.embed.body_parts import reject_token_ids
from sidecar.http.embed.contents import ContentEmbedder, check_dimensions
from sidecar.http.json_response import JsonResponse
from sidecar.http.model_names import check_model_name
from sidecar.http.models import ModelInfo
from sidecar.http.openai.answers import EmbeddingList, ModelItem, ModelList, embeddings_response
from sidecar.http.openai.bodies import EmbeddingsBody
from sidecar.http.operation import Operation, Scope


class OpenaiEndpoints:
    """OpenAI's endpoints. A bad input fails its whole batch, with an error that names it, `input[2]`.

    `aliases` are further names of the embedding model.
    """

    def __init__(self, embedder: ContentEmbedder, aliases: Collection[str]) -> None:
        self._embedder = embedder
        self._aliases = aliases
        self._started_at = int(time.time())

    def operations(self) -> list[Operation]:
        return [
            self.embeddings_operation("/v1/embeddings", "Embed texts or pictures (OpenAI's API)", EmbeddingsBody),
            Operation(
                *("GET", "/v1/models", self.models),
                summary="List the served model under each of its names",
                scope=Scope.EMBED,
                response=ModelList,
                errors=(503, 504),
            ),
            Operation(
                *("GET", "/v1/models/{model:path}", self.model),
                summary="Look up the served model by one of its names",
                scope=Scope.EMBED,
                response=ModelItem,
                errors=(404, 503, 504),
            ),
        ]

    def embeddings_operation(self, path: str, summary: str, body: type[EmbeddingsBody]) -> Operation:
        """`/v1/embeddings` under `path`, with the defaults of `body`."""
        return Operation(
            *("POST", path, partial(self._embeddings, body_model=body), summary, Scope.EMBED, EmbeddingList, body),
            errors=(404, 429, 503, 504),
            headers=VECTOR_HEADERS,
        )

    def model_items(self) -> list[ModelItem]:
        """The served model under its own name, then under each alias. Raises NotReady."""
        model = self._embedder.get_models().embedding_model
        return [self._item(name, model) for name in dict.fromkeys((model.id, *self._aliases))]

    async def models(self, _request: Request) -> Response:
        return JsonResponse(ModelList(data=self.model_items()))

    async def model(self, request: Request) -> Response:
        served, name = self._embedder.get_models().embedding_model, request.path_params["model"]
        check_model_name(name, served.id, self._aliases)
        return JsonResponse(self._item(name if name in self._aliases else served.id, served))

    async def _embeddings(self, request: Request, body_model: type[EmbeddingsBody]) -> Response:
        models = models_with_capacity(self._embedder.get_models)
        model = models.embedding_model
        reject = partial(reject_token_ids, field="input")
        body = await read_json(request, body_model, self._embedder.limits, reject)
        check_model_name(body.model, model.id, self._aliases)
        check_dimensions(body.dimensions, model.dim, "dimensions")
        contents = body.contents()
        if body.messages is not None and len(contents) != 1:
            message = f"`messages` has {len(contents)} parts; a vector is made of one text or one picture."
            raise InputError("wrong_number_of_parts", message, "messages")
        embedded = await self._embedder.embed(request, models, contents, "input")
        return await embeddings_response(embedded, model, as_base64=body.encoding_format == "base64")

    def _item(self, name: str, model: ModelInfo) -> ModelItem:
        return ModelItem(id=name, created=self._started_at, root=model.id)
