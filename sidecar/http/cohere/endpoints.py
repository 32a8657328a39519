"""`/v2/embed` and `/v1/embed`: Cohere's clients embed texts and pictures unmodified."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import work_while_connected
from sidecar.http.cohere.answers import CohereEmbedAnswer, answer_cohere, check_embedding_types
from sidecar.http.cohere.bodies import CohereEmbedBody
from sidecar.http.embed.contents import Content, check_contents, embed_contents, refuse_cut_texts, require_dimensions
from sidecar.http.model_names import check_model_name
from sidecar.http.openai.answers import EMBEDDINGS_HEADERS
from sidecar.http.operation import Operation, Scope
from sidecar.http.service import Service


class CohereEndpoints:
    """A batch is answered whole or not at all, and what is wrong is named: `texts[2]`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("POST", f"/v{version}/embed", partial(self.embed, version=version)),
                summary=f"Vectors of texts or pictures, as version {version} of Cohere's API gives them",
                scope=Scope.EMBED,
                request=CohereEmbedBody,
                response=CohereEmbedAnswer,
                errors=(404, 429, 503, 504),
                headers=EMBEDDINGS_HEADERS,
            )
            for version in ("1", "2")
        ]

    async def embed(self, request: Request, version: str) -> Response:
        serving, limits = self._service.serving, self._service.limits
        serving.embedder.refuse_if_full(Lane.QUERY)
        body = await read_json(request, CohereEmbedBody, limits)
        check_model_name(body.model, serving.model.id, self._service.model_aliases)
        check_embedding_types(body.embedding_types or ())
        require_dimensions(body.output_dimension, serving.model.dim, "output_dimension")
        contents = body.contents()
        check_contents(contents, body.source, limits)
        embedded = await work_while_connected(request, embed_contents(serving, self._service.images, contents))
        if body.truncate == "NONE":
            refuse_cut_texts(contents, embedded, "`truncate` is NONE")
        _check_tokens(contents, embedded, body.max_tokens)
        return await answer_cohere(body, contents, embedded, serving.model, version)


def _check_tokens(contents: Sequence[Content], embedded: Sequence[Embedded], most: int | None) -> None:
    for content, one in zip(contents, embedded, strict=True):
        if most is not None and not content.is_picture and one.tokens > most:
            message = (
                f"`{content.param}` has {one.tokens} tokens, more than `max_tokens`, {most}. Texts are cut where the "
                "model ends, not before: send a shorter one, or no `max_tokens`."
            )
            raise InputError("text_too_long", message, content.param)
