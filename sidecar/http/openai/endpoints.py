"""`/v1/embeddings` and `/v1/models`: OpenAI's clients work unmodified."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.answer_parts import VECTOR_HEADERS
from sidecar.http.embed.contents import check_contents, embed_contents, refuse_token_ids, require_dimensions
from sidecar.http.images.loader import ImageLoader
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.model_names import check_model_name
from sidecar.http.models import GetModels, ModelInfo
from sidecar.http.openai.answers import EmbeddingList, ModelItem, ModelList, answer_embeddings
from sidecar.http.openai.bodies import EmbeddingsBody
from sidecar.http.operation import Operation, Scope


class OpenaiEndpoints:
    """As `/embed/…`, a batch is answered whole or not at all, and what is wrong is named: `input[2]`."""

    def __init__(
        self, get_models: GetModels, limits: RequestLimits, images: ImageLoader, aliases: Collection[str]
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._aliases = aliases
        self._started_at = int(time.time())

    def operations(self) -> list[Operation]:
        return [
            self.embeds("/v1/embeddings", "Vectors of texts and pictures, as OpenAI's API gives them", EmbeddingsBody),
            Operation(
                *("GET", "/v1/models", self.models),
                summary="The served model, under each of its names",
                scope=Scope.EMBED,
                response=ModelList,
                errors=(503, 504),
            ),
            Operation(
                *("GET", "/v1/models/{model:path}", self.model),
                summary="The served model",
                scope=Scope.EMBED,
                response=ModelItem,
                errors=(404, 503, 504),
            ),
        ]

    def embeds(self, path: str, summary: str, body: type[EmbeddingsBody]) -> Operation:
        """The same for other paths, and bodies with other defaults."""
        return Operation(
            *("POST", path, partial(self._embeddings, kind=body), summary, Scope.EMBED, EmbeddingList, body),
            errors=(404, 429, 503, 504),
            headers=VECTOR_HEADERS,
        )

    def items(self) -> list[ModelItem]:
        """The served model, by its own name first, then by the others. Raises NotReady."""
        model = self._get_models().embedding_model
        return [self._item(name, model) for name in dict.fromkeys((model.id, *self._aliases))]

    async def models(self, _request: Request) -> Response:
        return JsonResponse(ModelList(data=self.items()))

    async def model(self, request: Request) -> Response:
        served, name = self._get_models().embedding_model, request.path_params["model"]
        check_model_name(name, served.id, self._aliases)
        return JsonResponse(self._item(name if name in self._aliases else served.id, served))

    async def _embeddings(self, request: Request, kind: type[EmbeddingsBody]) -> Response:
        models = self._get_models()
        models.embedder.reject_if_full(Lane.QUERY)
        limits, model = self._limits, models.embedding_model
        body = await read_json(request, kind, limits, partial(refuse_token_ids, field="input"))
        check_model_name(body.model, model.id, self._aliases)
        require_dimensions(body.dimensions, model.dim, "dimensions")
        contents = body.contents()
        if body.messages is not None and len(contents) != 1:
            message = f"`messages` has {len(contents)} parts; a vector is made of one text or one picture."
            raise InputError("wrong_number_of_parts", message, "messages")
        check_contents(contents, "input", limits)
        embedded = await cancel_on_disconnect(request, embed_contents(models, self._images, contents))
        return await answer_embeddings(embedded, model, as_base64=body.encoding_format == "base64")

    def _item(self, name: str, model: ModelInfo) -> ModelItem:
        return ModelItem(id=name, created=self._started_at, root=model.id)
