"""`/v2/embed` and `/v1/embed`, for Cohere's clients."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cohere.answers import CohereEmbedAnswer, check_embedding_types, embed_response
from sidecar.http.cohere.bodies import CohereEmbedBody
from sidecar.http.embed.all_or_none import models_with_capacity
from sidecar.http.embed.answer_parts import VECTOR_HEADERS
from sidecar.http.embed.contents import Content, ContentEmbedder, check_dimensions, reject_truncated
from sidecar.http.model_names import check_model_name
from sidecar.http.operation import Operation, Scope


class CohereEndpoints:
    """Cohere's endpoints. A bad input fails its whole batch, with an error that names it, `texts[2]`.

    `aliases` are further names of the embedding model.
    """

    def __init__(self, embedder: ContentEmbedder, aliases: Collection[str]) -> None:
        self._embedder = embedder
        self._aliases = aliases

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("POST", f"/v{version}/embed", partial(self.embed, version=version)),
                summary=f"Embed texts or pictures (Cohere's API, version {version})",
                scope=Scope.EMBED,
                request=CohereEmbedBody,
                response=CohereEmbedAnswer,
                errors=(404, 429, 503, 504),
                headers=VECTOR_HEADERS,
            )
            for version in ("1", "2")
        ]

    async def embed(self, request: Request, version: str) -> Response:
        models = models_with_capacity(self._embedder.get_models)
        body = await read_json(request, CohereEmbedBody, self._embedder.limits)
        check_model_name(body.model, models.embedding_model.id, self._aliases)
        check_embedding_types(body.embedding_types or ())
        check_dimensions(body.output_dimension, models.embedding_model.dim, "output_dimension")
        contents = body.contents()
        embedded = await self._embedder.embed(request, models, contents, body.source)
        if body.truncate == "NONE":
            reject_truncated(contents, embedded, "`truncate` is NONE")
        if body.max_tokens is not None:
            _check_tokens(contents, embedded, body.max_tokens)
        return await embed_response(body, contents, embedded, models.embedding_model, version)


def _check_tokens(contents: Sequence[Content], embedded: Sequence[Embedded], max_tokens: int) -> None:
    for content, result in zip(contents, embedded, strict=True):
        if not content.is_picture and result.tokens > max_tokens:
            message = (
                f"`{content.param}` has {result.tokens} tokens, more than `max_tokens`, {max_tokens}. Texts are cut "
                "where the model ends, not before: send a shorter one, or no `max_tokens`."
            )
            raise InputError("text_too_long", message, content.param)
