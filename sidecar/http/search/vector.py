"""The vector that a search is about."""

from __future__ import annotations

import numpy as np

from sidecar.batching.embedder import Embedded
from sidecar.errors import InputError
from sidecar.http.embed.embedding import embed_picture, embed_texts
from sidecar.http.images.loader import ImageLoader
from sidecar.http.models import Models
from sidecar.http.search.bodies import SearchBody


async def query_vector(body: SearchBody, models: Models, images: ImageLoader) -> Embedded:
    """Of the text, the picture, or the vector itself at unit length. Raises InputError, Overloaded, DeviceError."""
    if body.text is not None:
        (embedded,) = await embed_texts(models.embedder, [body.text], ["text"])
        return embedded
    if body.image is not None:
        return await embed_picture(models.embedder, await images.load(body.image, "image"), "image")
    return _given_vector(body.vector or [], models.embedding_model.dim)


def _given_vector(numbers: list[float], dimensions: int) -> Embedded:
    if len(numbers) != dimensions:
        message = f"`vector` has {len(numbers)} numbers; vectors of this model have {dimensions}."
        raise InputError("wrong_dimensions", message, "vector")
    vector = np.array(numbers, np.float64)
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if not 0 < length < np.inf:
        raise InputError(
            "invalid_vector", "`vector` has no direction: its length is not above 0, or not finite.", "vector"
        )
    return Embedded((vector / length).astype(np.float32), truncated=False)
