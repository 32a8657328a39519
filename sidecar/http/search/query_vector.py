"""The query vector of a search: of a text, a picture or a vector, or of a weighted list of those and of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.embedder import Embedded
from sidecar.errors import InputError
from sidecar.http.embed.all_or_none import embed_picture, embed_pictures, embed_texts
from sidecar.http.images.loader import ImageLoader
from sidecar.http.models import Models
from sidecar.http.search.bodies import SearchBody
from sidecar.http.search.query_parts import QueryPart, contents_of
from sidecar.http.search.stages import StageClock

_LEAST_SHARE = 1e-6  # of the weights, below which what is left of a sum is rounding


async def query_vector(
    body: SearchBody,
    models: Models,
    images: ImageLoader,
    rows: Mapping[str, NDArray[np.float32]],
    clock: StageClock,
) -> Embedded:
    """The vector to search with, of unit length. `rows` are the vectors of the rows that `query` names, by their names.

    Raises InputError, Overloaded, DeviceError.
    """
    if body.query is not None:
        return await _mixed(body.query, models, images, rows, clock)
    if body.text is not None:
        with clock.timed("text"):
            (embedded,) = await embed_texts(models.embedder, [body.text], ["text"])
        return embedded
    if body.image is not None:
        with clock.timed("picture"):
            return await embed_picture(models.embedder, await images.load(body.image, "image"), "image")
    return Embedded(unit_vector(body.vector or [], models.embedding_model.dim, "vector"), truncated=False)


async def _mixed(
    parts: Sequence[QueryPart],
    models: Models,
    images: ImageLoader,
    rows: Mapping[str, NDArray[np.float32]],
    clock: StageClock,
) -> Embedded:
    dimensions = models.embedding_model.dim
    given = {
        param: unit_vector(part.vector, dimensions, param)
        for index, part in enumerate(parts)
        if part.vector is not None
        for param in [f"query[{index}].vector"]
    }
    embedded = await _embed(parts, models, images, clock)
    vectors = {**rows, **given, **{param: each.vector for param, each in embedded.items()}}
    ordered = [vectors[f"query[{index}].{_kind(part)}"] for index, part in enumerate(parts)]
    return Embedded(
        weighted_sum(ordered, [part.weight for part in parts]),
        truncated=any(each.truncated for each in embedded.values()),
        unreadable=any(each.unreadable for each in embedded.values()),
    )


async def _embed(
    parts: Sequence[QueryPart], models: Models, images: ImageLoader, clock: StageClock
) -> dict[str, Embedded]:
    """The texts, in one job, and the pictures, by their names. The capacity for all of them is reserved first."""
    contents = contents_of(parts)
    texts = {each.param: each.value for each in contents if not each.is_picture}
    pictures = {each.param: partial(images.load, each.value, each.param) for each in contents if each.is_picture}
    if not contents:
        return {}
    embedded: dict[str, Embedded] = {}
    with models.embedder.reserve(len(texts), len(pictures)) as reservation:
        if texts:
            with clock.timed("text"):
                found = await embed_texts(models.embedder, list(texts.values()), list(texts), reservation)
            embedded |= zip(texts, found, strict=True)
        if pictures:
            with clock.timed("picture"):
                found = await embed_pictures(models.embedder, pictures, reservation)
            embedded |= zip(pictures, found, strict=True)
    return embedded


def _kind(part: QueryPart) -> str:
    return next(kind for kind in ("text", "image", "vector", "key") if getattr(part, kind) is not None)


def weighted_sum(vectors: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """The sum of unit vectors times their weights, scaled to unit length: (dimensions,) float32.

    Raises InputError (`no_direction`) if nothing is left of them.
    """
    total: NDArray[np.float64] = np.sum(np.asarray(weights, np.float64)[:, None] * np.stack(vectors), axis=0)
    length = float(np.linalg.norm(total))
    if not _LEAST_SHARE * sum(map(abs, weights)) < length < np.inf:
        message = "`query` has no direction: its parts cancel each other out, or all weights are 0."
        raise InputError("no_direction", message, "query")
    return (total / length).astype(np.float32)


def unit_vector(numbers: list[float], dimensions: int, param: str) -> NDArray[np.float32]:
    """`numbers` scaled to unit length. Raises InputError (`wrong_dimensions`, `invalid_vector`) that names `param`."""
    if len(numbers) != dimensions:
        message = f"`{param}` has {len(numbers)} numbers; vectors of this model have {dimensions}."
        raise InputError("wrong_dimensions", message, param)
    vector = np.array(numbers, np.float64)
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if not 0 < length < np.inf:
        message = f"`{param}` has no direction: its length is not above 0, or not finite."
        raise InputError("invalid_vector", message, param)
    return (vector / length).astype(np.float32)
