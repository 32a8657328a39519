"""Vectors of what one request sent, whole or not at all: what cannot be embedded is named as the request names it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.lane import Lane
from sidecar.errors import PictureRejected, TextRejected

# Pictures of one request that are worked on at once: enough to decode one while another is encoded.
_PICTURES_AT_ONCE = 4

ReadPicture: TypeAlias = Callable[[], Awaitable[bytes]]


async def embed_texts(embedder: Embedder, texts: Sequence[str], params: Sequence[str]) -> list[Embedded]:
    """In order. Raises TextRejected for the first text that nothing is left of, with its name of `params`."""
    answers = await embedder.embed_texts(texts, Lane.QUERY)
    return [_accepted(answer, param) for answer, param in zip(answers, params, strict=True)]


async def embed_picture(embedder: Embedder, image: bytes, param: str, *, admitted: bool = False) -> Embedded:
    """Raises PictureRejected that names it as `param`, and Overloaded unless its request is `admitted` already."""
    try:
        return await embedder.embed_picture(image, Lane.QUERY, admitted=admitted)
    except PictureRejected as error:
        raise PictureRejected(error.code, f"`{param}`: {error.message}", param) from error


async def embed_pictures(
    embedder: Embedder, pictures: Mapping[str, ReadPicture], *, admitted: bool = False
) -> list[Embedded]:
    """In order of `pictures`, which are named by their keys and read when their turn comes.

    The first failure cancels the others and is raised. Only the first picture is refused where the lane is full: no
    request is given up halfway.
    """
    places = asyncio.Semaphore(_PICTURES_AT_ONCE)

    async def embed(index: int, param: str, read: ReadPicture) -> Embedded:
        async with places:
            return await embed_picture(embedder, await read(), param, admitted=admitted or index > 0)

    tasks = [
        asyncio.create_task(embed(index, param, read), name=param)
        for index, (param, read) in enumerate(pictures.items())
    ]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _accepted(answer: Embedded | TextRejected, param: str) -> Embedded:
    if isinstance(answer, TextRejected):
        raise TextRejected(answer.code, f"`{param}`: {answer.message}", param)
    return answer
