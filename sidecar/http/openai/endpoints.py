"""`/v1/embeddings` and `/v1/models`: OpenAI's clients work unmodified."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.lane import Lane
from sidecar.errors import InputError
from sidecar.http.embedding import embed_pictures, embed_texts
from sidecar.http.json_body import read_json
from sidecar.http.json_response import JsonResponse
from sidecar.http.model_names import check_model_name
from sidecar.http.openai.answers import EMBEDDINGS_HEADERS, EmbeddingList, ModelItem, ModelList, answer_embeddings
from sidecar.http.openai.bodies import Content, EmbeddingsBody
from sidecar.http.operation import Operation, Scope
from sidecar.http.patience import work_while_connected
from sidecar.http.service import ServedModel, Service
from sidecar.http.texts import check_text


class OpenaiEndpoints:
    """As `/embed/…`, a batch is answered whole or not at all, and what is wrong is named: `input[2]`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started_at = int(time.time())

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("POST", "/v1/embeddings", self.embeddings),
                summary="Vectors of texts and pictures, as OpenAI's API gives them",
                scope=Scope.EMBED,
                request=EmbeddingsBody,
                response=EmbeddingList,
                errors=(404, 429, 503, 504),
                headers=EMBEDDINGS_HEADERS,
            ),
            Operation(
                *("GET", "/v1/models", self.models),
                summary="The served model, in a list",
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

    async def embeddings(self, request: Request) -> Response:
        serving = self._service.serving
        serving.embedder.refuse_if_full(Lane.QUERY)
        body = await read_json(request, EmbeddingsBody, self._service.limits)
        check_model_name(body.model, serving.model.id)
        _check_dimensions(body.dimensions, serving.model)
        contents = body.contents()
        self._check_contents(contents, one=body.messages is not None)
        embedded = await work_while_connected(request, self._embed(serving.embedder, contents))
        return answer_embeddings(embedded, serving.model, as_base64=body.encoding_format == "base64")

    async def models(self, _request: Request) -> Response:
        return JsonResponse(ModelList(data=[self._item(self._service.serving.model)]))

    async def model(self, request: Request) -> Response:
        served = self._service.serving.model
        check_model_name(request.path_params["model"], served.id)
        return JsonResponse(self._item(served))

    def _item(self, model: ServedModel) -> ModelItem:
        return ModelItem(id=model.id, created=self._started_at)

    async def _embed(self, embedder: Embedder, contents: Sequence[Content]) -> list[Embedded]:
        texts = [content for content in contents if not content.is_picture]
        values, params = [text.value for text in texts], [text.param for text in texts]
        pictures = {
            content.param: partial(self._service.images.read, content.value, content.param)
            for content in contents
            if content.is_picture
        }
        if not pictures:
            return await embed_texts(embedder, values, params)
        with embedder.admitted(len(texts), len(pictures)) as place:
            of_texts = iter(await embed_texts(embedder, values, params, place) if texts else ())
            of_pictures = iter(await embed_pictures(embedder, pictures, place))
        return [next(of_pictures if content.is_picture else of_texts) for content in contents]

    def _check_contents(self, contents: Sequence[Content], *, one: bool) -> None:
        limits = self._service.limits
        if one and len(contents) != 1:
            message = f"`messages` has {len(contents)} parts; a vector is made of one text or one picture."
            raise InputError("wrong_number_of_parts", message, "messages")
        pictures = sum(content.is_picture for content in contents)
        if not contents:
            raise InputError("empty_list", "`input` is empty; send at least one text or picture.", "input")
        for count, most, name, code in (
            (len(contents) - pictures, limits.max_batch_texts, "texts (MAX_BATCH_TEXTS)", "too_many_texts"),
            (pictures, limits.max_batch_images, "pictures (MAX_BATCH_IMAGES)", "too_many_pictures"),
        ):
            if count > most:
                raise InputError(code, f"`input` has {count} {name}; at most {most} go in a request.", "input")
        for content in contents:
            if not content.is_picture:
                check_text(content.value, content.param, limits)


def _check_dimensions(requested: int | None, model: ServedModel) -> None:
    if requested is not None and requested != model.dim:
        message = (
            f"`dimensions` is {requested}; the vectors of {model.id!r} have {model.dim}. The model was not trained "
            f"for shorter ones (no Matryoshka training). Send {model.dim}, or no `dimensions`."
        )
        raise InputError("dimensions_not_supported", message, "dimensions")
