"""`/rerank`, `/v1/rerank` and `/v2/rerank`: documents in the order of how well they answer a query."""

from __future__ import annotations

from functools import partial

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.reranker import Reranker
from sidecar.errors import InputError
from sidecar.http.images import is_image_reference
from sidecar.http.json_body import read_json
from sidecar.http.model_names import check_model_name
from sidecar.http.operation import Endpoint, Operation, Scope
from sidecar.http.patience import work_while_connected
from sidecar.http.rerank.answers import RankedTexts, RerankAnswer, answer_documents, answer_texts
from sidecar.http.rerank.bodies import RerankBody, RerankTextsBody
from sidecar.http.rerank.documents import (
    RerankDocument,
    check_document_count,
    check_query,
    check_texts,
    read_documents,
)
from sidecar.http.rerank.scoring import require_reranker, score_pictures, score_texts
from sidecar.http.service import RequestLimits, Service, Serving


class RerankEndpoints:
    """A request is answered whole or not at all: a bad document is a 422 that names it, `documents[3]`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def operations(self) -> list[Operation]:
        return [
            _operation(
                "/rerank",
                self.rerank_texts,
                "Rank texts, as text-embeddings-inference does",
                (RerankTextsBody, RankedTexts),
            ),
            *(
                _operation(
                    f"/v{version}/rerank",
                    partial(self.rerank, version=version),
                    f"Rank documents, as version {version} of Cohere's API does",
                    (RerankBody, RerankAnswer),
                )
                for version in ("1", "2")
            ),
        ]

    async def rerank_texts(self, request: Request) -> Response:
        _, reranker = self._open()
        body = await read_json(request, RerankTextsBody, self._service.limits)
        documents = _read_texts(body, self._service.limits)
        scores = await work_while_connected(request, score_texts(reranker, body.query, documents))
        if body.truncate is False and scores.cut:
            message = f"`{scores.cut[0]}` is longer than the model reads (RERANK_MAX_TOKENS), and `truncate` is false."
            raise InputError("text_too_long", message, scores.cut[0])
        return answer_texts(body, scores)

    async def rerank(self, request: Request, version: str) -> Response:
        serving, reranker = self._open()
        body = await read_json(request, RerankBody, self._service.limits)
        check_model_name(body.model, reranker.model_id)
        check_query(body.query, self._service.limits)
        documents = read_documents(body, self._service.limits)
        if documents[0].is_picture:
            scoring = score_pictures(serving, self._service.images, body.query, documents)
        else:
            scoring = score_texts(reranker, body.query, documents, body.max_tokens_per_doc)
        return answer_documents(body, await work_while_connected(request, scoring), version)

    def _open(self) -> tuple[Serving, Reranker]:
        """Before the body is read. Raises NotReady, InputError (`rerank_disabled`), and Overloaded if all is full."""
        serving = self._service.serving
        reranker = require_reranker(serving)
        reranker.refuse_if_full()
        return serving, reranker


def _operation(
    path: str, endpoint: Endpoint, summary: str, models: tuple[type[BaseModel], type[BaseModel]]
) -> Operation:
    request, response = models
    return Operation("POST", path, endpoint, summary, Scope.EMBED, response, request, errors=(404, 429, 503, 504))


def _read_texts(body: RerankTextsBody, limits: RequestLimits) -> list[RerankDocument]:
    check_query(body.query, limits)
    check_document_count(body.texts, "texts", limits)
    documents = [RerankDocument(f"texts[{index}]", text, is_picture=False) for index, text in enumerate(body.texts)]
    for document in documents:
        if is_image_reference(document.value):
            message = f"`{document.param}` is a picture; only texts are ranked here. Send pictures to /v2/rerank."
            raise InputError("unsupported_documents", message, document.param)
    check_texts([(document.param, document.value) for document in documents], limits)
    return documents
