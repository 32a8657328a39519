"""`/v2/embed` and `/v1/embed`: Cohere's clients embed texts and pictures unmodified."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.cohere.answers import CohereEmbedAnswer, answer_cohere, check_embedding_types
from sidecar.http.cohere.bodies import CohereEmbedBody
from sidecar.http.embed.answer_parts import VECTOR_HEADERS
from sidecar.http.embed.contents import Content, check_contents, embed_contents, refuse_cut_texts, require_dimensions
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.model_names import check_model_name
from sidecar.http.models import GetModels
from sidecar.http.operation import Operation, Scope


class CohereEndpoints:
    """A batch is answered whole or not at all, and what is wrong is named: `texts[2]`."""

    def __init__(
        self, get_models: GetModels, limits: RequestLimits, images: ImageLoader, aliases: Collection[str]
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._aliases = aliases

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("POST", f"/v{version}/embed", partial(self.embed, version=version)),
                summary=f"Vectors of texts or pictures, as version {version} of Cohere's API gives them",
                scope=Scope.EMBED,
                request=CohereEmbedBody,
                response=CohereEmbedAnswer,
                errors=(404, 429, 503, 504),
                headers=VECTOR_HEADERS,
            )
            for version in ("1", "2")
        ]

    async def embed(self, request: Request, version: str) -> Response:
        models, limits = self._get_models(), self._limits
        models.embedder.reject_if_full(Lane.QUERY)
        body = await read_json(request, CohereEmbedBody, limits)
        check_model_name(body.model, models.embedding_model.id, self._aliases)
        check_embedding_types(body.embedding_types or ())
        require_dimensions(body.output_dimension, models.embedding_model.dim, "output_dimension")
        contents = body.contents()
        check_contents(contents, body.source, limits)
        embedded = await cancel_on_disconnect(request, embed_contents(models, self._images, contents))
        if body.truncate == "NONE":
            refuse_cut_texts(contents, embedded, "`truncate` is NONE")
        _check_tokens(contents, embedded, body.max_tokens)
        return await answer_cohere(body, contents, embedded, models.embedding_model, version)


def _check_tokens(contents: Sequence[Content], embedded: Sequence[Embedded], most: int | None) -> None:
    for content, one in zip(contents, embedded, strict=True):
        if most is not None and not content.is_picture and one.tokens > most:
            message = (
                f"`{content.param}` has {one.tokens} tokens, more than `max_tokens`, {most}. Texts are cut where the "
                "model ends, not before: send a shorter one, or no `max_tokens`."
            )
            raise InputError("text_too_long", message, content.param)
