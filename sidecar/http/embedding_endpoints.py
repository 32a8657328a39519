"""`/embed/…`: texts and pictures to vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.lane import Lane
from sidecar.errors import PictureRejected, TextRejected
from sidecar.http.answers import EmbeddingAnswer, EmbeddingsAnswer, answer_many, answer_one
from sidecar.http.files import FileForm, FilesForm, read_file, read_files
from sidecar.http.operation import Endpoint, MediaType, Operation, Scope
from sidecar.http.patience import work_while_connected
from sidecar.http.service import Service
from sidecar.http.texts import TextBody, TextsBody, read_text, read_texts

# Pictures of one request that are worked on at once: enough to decode one while another is encoded.
_PICTURES_AT_ONCE = 4


class EmbeddingEndpoints:
    """A batch is answered whole or not at all: a bad text or picture is a 422 that names it, `file[2]`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def operations(self) -> list[Operation]:
        return [
            self._operation("/embed/text", self.embed_text, "The vector of a text", TextBody, EmbeddingAnswer),
            self._operation("/embed/text/batch", self.embed_texts, "Vectors of texts", TextsBody, EmbeddingsAnswer),
            self._operation("/embed/image", self.embed_image, "The vector of a picture", FileForm, EmbeddingAnswer),
            self._operation(
                "/embed/image/batch", self.embed_images, "Vectors of pictures", FilesForm, EmbeddingsAnswer
            ),
        ]

    async def embed_text(self, request: Request) -> Response:
        serving = self._service.serving
        text = await read_text(request, self._service.limits)
        (answer,) = await work_while_connected(request, serving.embedder.embed_texts([text], Lane.QUERY))
        return answer_one(_accepted(answer, "text"), serving.model)

    async def embed_texts(self, request: Request) -> Response:
        serving = self._service.serving
        texts = await read_texts(request, self._service.limits)
        answers = await work_while_connected(request, serving.embedder.embed_texts(texts, Lane.QUERY))
        accepted = [_accepted(answer, f"texts[{index}]") for index, answer in enumerate(answers)]
        return answer_many(accepted, serving.model)

    async def embed_image(self, request: Request) -> Response:
        serving = self._service.serving
        image = await read_file(request, self._service.limits)
        embedded = await work_while_connected(request, _embed_picture(serving.embedder, image, "file"))
        return answer_one(embedded, serving.model)

    async def embed_images(self, request: Request) -> Response:
        serving = self._service.serving
        images = await read_files(request, self._service.limits)
        embedded = await work_while_connected(request, _embed_pictures(serving.embedder, images))
        return answer_many(embedded, serving.model)

    @staticmethod
    def _operation(
        path: str, endpoint: Endpoint, summary: str, request: type[BaseModel], response: type[BaseModel]
    ) -> Operation:
        media = MediaType.FORM if request in {FileForm, FilesForm} else MediaType.JSON
        return Operation("POST", path, endpoint, summary, Scope.EMBED, response, request, media, errors=(429, 503, 504))


def _accepted(answer: Embedded | TextRejected, param: str) -> Embedded:
    if isinstance(answer, TextRejected):
        raise TextRejected(answer.code, f"`{param}`: {answer.message}", param)
    return answer


async def _embed_picture(embedder: Embedder, image: bytes, param: str) -> Embedded:
    try:
        return await embedder.embed_picture(image, Lane.QUERY)
    except PictureRejected as error:
        raise PictureRejected(error.code, f"`{param}`: {error.message}", param) from error


async def _embed_pictures(embedder: Embedder, images: Sequence[bytes]) -> list[Embedded]:
    """In order. The first failure cancels the others and is raised."""
    places = asyncio.Semaphore(_PICTURES_AT_ONCE)

    async def embed(index: int, image: bytes) -> Embedded:
        async with places:
            return await _embed_picture(embedder, image, f"file[{index}]")

    tasks = [asyncio.create_task(embed(index, image), name=f"file[{index}]") for index, image in enumerate(images)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
