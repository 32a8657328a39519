"""`/embed/…`: vectors of texts and pictures."""

from __future__ import annotations

from functools import partial

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sidecar.http.bodies.json_body import read_json
from sidecar.http.bodies.multipart import FileForm, FilesForm, read_file, read_files
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.all_or_none import embed_picture, embed_pictures, embed_texts, models_with_capacity
from sidecar.http.embed.answers import EmbeddingAnswer, EmbeddingsAnswer, embedding_response, embeddings_response
from sidecar.http.embed.texts import TextBody, TextsBody, check_text, check_texts
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels
from sidecar.http.operation import Endpoint, MediaType, Operation, Scope


class EmbeddingEndpoints:
    """The `/embed/…` endpoints. A bad text or picture fails its whole batch with a 422 that names it, `file[2]`."""

    def __init__(self, get_models: GetModels, limits: RequestLimits) -> None:
        self._get_models = get_models
        self._limits = limits

    def operations(self) -> list[Operation]:
        return [
            self._operation("/embed/text", self.embed_text, "Embed a text", TextBody, EmbeddingAnswer),
            self._operation("/embed/text/batch", self.embed_texts, "Embed several texts", TextsBody, EmbeddingsAnswer),
            self._operation("/embed/image", self.embed_image, "Embed a picture", FileForm, EmbeddingAnswer),
            self._operation(
                "/embed/image/batch", self.embed_images, "Embed several pictures", FilesForm, EmbeddingsAnswer
            ),
        ]

    async def embed_text(self, request: Request) -> Response:
        models = models_with_capacity(self._get_models)
        body = await read_json(request, TextBody, self._limits)
        check_text(body.text, "text", self._limits)
        (embedded,) = await cancel_on_disconnect(request, embed_texts(models.embedder, [body.text], ["text"]))
        return embedding_response(embedded, models)

    async def embed_texts(self, request: Request) -> Response:
        models = models_with_capacity(self._get_models)
        body = await read_json(request, TextsBody, self._limits)
        params = [f"texts[{index}]" for index in range(len(body.texts))]
        check_texts(body.texts, params, self._limits)
        embedded = await cancel_on_disconnect(request, embed_texts(models.embedder, body.texts, params))
        return await embeddings_response(embedded, models.embedding_model)

    async def embed_image(self, request: Request) -> Response:
        models = models_with_capacity(self._get_models)
        image = await read_file(request, self._limits)
        embedded = await cancel_on_disconnect(request, embed_picture(models.embedder, image, "file"))
        return embedding_response(embedded, models)

    async def embed_images(self, request: Request) -> Response:
        models = models_with_capacity(self._get_models)
        images = await read_files(request, self._limits)
        pictures = {f"file[{index}]": partial(_already_loaded, image) for index, image in enumerate(images)}
        with models.embedder.reserve(texts=0, pictures=len(pictures)) as reservation:
            embedded = await cancel_on_disconnect(request, embed_pictures(models.embedder, pictures, reservation))
        return await embeddings_response(embedded, models.embedding_model)

    @staticmethod
    def _operation(
        path: str, endpoint: Endpoint, summary: str, request: type[BaseModel], response: type[BaseModel]
    ) -> Operation:
        media = MediaType.FORM if request in {FileForm, FilesForm} else MediaType.JSON
        return Operation("POST", path, endpoint, summary, Scope.EMBED, response, request, media, errors=(429, 503, 504))


async def _already_loaded(image: bytes) -> bytes:
    return image
