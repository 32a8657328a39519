"""`/embed/…`: texts and pictures to vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.lane import Lane
from sidecar.errors import PictureRejected, TextRejected
from sidecar.http.answers import answer_many, answer_one
from sidecar.http.error_table import error_response
from sidecar.http.files import read_file, read_files
from sidecar.http.patience import work_while_connected
from sidecar.http.service import Service
from sidecar.http.texts import read_text, read_texts

# Pictures of one request that are worked on at once: enough to decode one while another is encoded.
_PICTURES_AT_ONCE = 4


class EmbeddingEndpoints:
    """A batch is answered whole or not at all: a bad text or picture is a 422 that names it, `file[2]`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        endpoints = {
            "/embed/text": self.embed_text,
            "/embed/text/batch": self.embed_texts,
            "/embed/image": self.embed_image,
            "/embed/image/batch": self.embed_images,
        }
        return [Route(path, self._with_deadline(endpoint), methods=["POST"]) for path, endpoint in endpoints.items()]

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

    def _with_deadline(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        timeout_s = self._service.limits.timeout_s

        async def answer_in_time(request: Request) -> Response:
            deadline = asyncio.timeout(timeout_s)
            try:
                async with deadline:
                    return await endpoint(request)
            except TimeoutError:
                if not deadline.expired():
                    raise
                message = f"No answer within {timeout_s:g} s (REQUEST_TIMEOUT_S). Try again, or send less at once."
                return error_response(504, "timeout", message)

        return answer_in_time


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
