"""`POST /search`: the rows of a watched table that are nearest to a text, a picture or a vector."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.all_or_none import embed_picture, embed_texts, models_with_capacity
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels, Models
from sidecar.http.operation import Operation, Scope
from sidecar.http.search.answers import ResolvedSearch, SearchAnswer, search_response
from sidecar.http.search.bodies import SearchBody, check_search
from sidecar.http.search.ranking import RankedRow, rerank_rows
from sidecar.http.search.watch import check_columns, check_model, find_watch, rerank_columns
from sidecar.postgres.reads import Reads
from sidecar.postgres.search import NearestQuery, NearestRow, find_nearest
from sidecar.telemetry.telemetry import Stage, Telemetry


class SearchEndpoint:
    """`POST /search`. The whole request is checked before the model and the user's table are used."""

    def __init__(
        self,
        get_models: GetModels,
        limits: RequestLimits,
        images: ImageLoader,
        reads: Reads | None,
        telemetry: Telemetry,
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._reads = reads
        self._telemetry = telemetry

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST",
                "/search",
                self.search,
                "Find the rows of a watched table nearest to a text, a picture or a vector",
                Scope.SEARCH,
                SearchAnswer,
                SearchBody,
                errors=(403, 404, 409, 429, 503, 504),
            )
        ]

    async def search(self, request: Request) -> Response:
        reads = self._reads
        if reads is None:
            raise InputError("no_database", "There is nothing to search: DATABASE_URL is not set.")
        models = models_with_capacity(self._get_models)
        body = await read_json(request, SearchBody, self._limits)
        began = time.perf_counter()
        check_search(body, self._limits)
        search, found, lag_s = await cancel_on_disconnect(request, self._search(reads, models, body))
        return search_response(search, found, (time.perf_counter() - began) * 1000, lag_s)

    async def _search(
        self, reads: Reads, models: Models, body: SearchBody
    ) -> tuple[ResolvedSearch, Sequence[RankedRow], float | None]:
        """The search, its rows, and the lag of the standby that they were read from."""
        watch, _ = await reads.read(partial(find_watch, table=body.table, target=body.target))
        check_model(watch, models.embedding_model)
        check_columns(watch, body)
        reranker = models.require_reranker() if body.rerank else None
        document = rerank_columns(watch, body.rerank.column) if body.rerank else ()
        search = ResolvedSearch(body, watch, models, await _query_vector(body, models, self._images))
        rows, lag_s = await self._nearest(reads, search, document)
        if reranker is None or body.text is None:
            return search, [RankedRow(row, None) for row in rows], lag_s
        return search, (await rerank_rows(reranker, body.text, rows))[: body.k], lag_s

    async def _nearest(
        self, reads: Reads, search: ResolvedSearch, document: Sequence[str]
    ) -> tuple[list[NearestRow], float | None]:
        body, watch = search.body, search.watch
        if watch.fingerprint is None:  # vectors in the table, if any, are of an unknown model
            return [], reads.lag_s if reads.uses_standby else None
        wanted = max(body.k, body.rerank.top_k) if body.rerank else body.k
        columns = watch.exposed if body.columns is None else body.columns
        query = NearestQuery(search.embedded.vector, wanted, body.filter, columns, document)
        with self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "search"):
            return await reads.read(partial(find_nearest, watch=watch, query=query, timeout_s=self._limits.timeout_s))


async def _query_vector(body: SearchBody, models: Models, images: ImageLoader) -> Embedded:
    """The vector of the body's text or picture, or its own. Raises InputError, Overloaded, DeviceError."""
    if body.text is not None:
        (embedded,) = await embed_texts(models.embedder, [body.text], ["text"])
        return embedded
    if body.image is not None:
        return await embed_picture(models.embedder, await images.load(body.image, "image"), "image")
    return _unit_vector(body.vector or [], models.embedding_model.dim)


def _unit_vector(numbers: list[float], dimensions: int) -> Embedded:
    """`numbers` scaled to unit length. Raises InputError (`wrong_dimensions`, `invalid_vector`)."""
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
