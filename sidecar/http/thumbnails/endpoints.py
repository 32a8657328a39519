"""`GET /thumbnail`, of rows that may be searched, and `GET /failures/thumbnail`, of rows that failed.

A row is looked up each time, with the rights of the key; its picture is read and decoded only where neither the client
nor the cache has the thumbnail of this version of the row.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.job import Lane
from sidecar.errors import InputError, PictureRejected
from sidecar.http.access import key_of
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.headers import header_values
from sidecar.http.limits import RequestLimits
from sidecar.http.operation import MediaType, Operation, QueryParameter, Scope
from sidecar.http.query_parameters import read_query
from sidecar.http.thumbnails.cache import Outcome, ThumbnailCache
from sidecar.http.watches.finding import find_watch
from sidecar.http.watches.grant import Grant
from sidecar.http.watches.keys import key_object, parse_key
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.picture import Thumbnail
from sidecar.postgres.pictures import PictureQuery, StoredPicture, read_picture
from sidecar.postgres.reads import Reads
from sidecar.postgres.search import SearchedWatch
from sidecar.telemetry.telemetry import Stage, Telemetry

CACHE_BYTES = 32 * 1024 * 1024
USUAL_SIDE, LEAST_SIDE, MOST_SIDE = 192, 16, 512
_AT_ONCE = 2  # pictures that are read and decoded: each may have MAX_IMAGE_BYTES

_QUERY = (
    QueryParameter("table", "The watched table, as in SQL.", required=True),
    QueryParameter("target", "The vector column, where the table has several watches."),
    QueryParameter("key", 'The key of the row, in JSON: `7` or `{"id": 7}`.', required=True, max_chars=5000),
    QueryParameter("size", f"Most pixels along each edge; default: {USUAL_SIDE}.", least=LEAST_SIDE, most=MOST_SIDE),
)
_HEADERS = {"Cache-Control": "private, no-cache", "Cross-Origin-Resource-Policy": "same-origin"}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One thumbnail. `etags`: those of If-None-Match."""

    watch: SearchedWatch
    query: PictureQuery
    side: int
    etags: frozenset[str]


class ThumbnailEndpoints:
    """`get_decoders` raises NotReady until they are open. `reads`: None without a database."""

    def __init__(
        self,
        get_decoders: Callable[[], DecoderPool],
        limits: RequestLimits,
        reads: Reads | None,
        telemetry: Telemetry,
    ) -> None:
        self._get_decoders = get_decoders
        self._limits = limits
        self._reads = reads
        self._telemetry = telemetry
        self._cache = ThumbnailCache(CACHE_BYTES)
        self._making = asyncio.Semaphore(_AT_ONCE)

    def operations(self) -> list[Operation]:
        return [
            self._operation("/thumbnail", Scope.SEARCH, "The picture of a row, made small", only_failed=False),
            self._operation(
                "/failures/thumbnail", Scope.ADMIN, "The picture of a row that failed, made small", only_failed=True
            ),
        ]

    def _operation(self, path: str, scope: Scope, summary: str, *, only_failed: bool) -> Operation:
        return Operation(
            *("GET", path, partial(self._answer, only_failed=only_failed), summary, scope, None),
            response_media=MediaType.WEBP,
            other_media=(MediaType.JPEG,),
            errors=(403, 404, 413, 415, 422, 503),
            query=_QUERY,
            headers=(("ETag", "Changes with the row. Sent back as `If-None-Match`, it saves the picture: 304."),),
        )

    async def _answer(self, request: Request, *, only_failed: bool) -> Response:
        """A picture, or 304. Raises InputError, AccessDenied, DatabaseError, DecoderUnavailable."""
        if self._reads is None:
            raise InputError("no_database", "There are no pictures: DATABASE_URL is not set.")
        decoders = self._get_decoders()
        values = read_query(request, _QUERY)
        sent_key = parse_key(values.texts["key"], "key")
        grant = Grant(key_of(request))
        find = partial(find_watch, table=values.texts["table"], target=values.texts.get("target"), grant=grant)
        watch, _ = await self._reads.read(find)
        _check_pictures(watch, only_failed)
        key = key_object(sent_key, watch.key_columns, "key")
        wanted = _Wanted(
            watch,
            PictureQuery(key, only_failed, self._limits.timeout_s),
            values.integers.get("size", USUAL_SIDE),
            frozenset(_etags(request)),
        )
        with grant.explaining(watch):
            return await cancel_on_disconnect(request, self._thumbnail(self._reads, decoders, wanted))

    async def _thumbnail(self, reads: Reads, decoders: DecoderPool, wanted: _Wanted) -> Response:
        etag = _etag(wanted, await self._read(reads, wanted, max_bytes=0))
        headers = {**_HEADERS, "ETag": etag}
        if etag in wanted.etags:
            return Response(status_code=304, headers=headers)
        outcome = self._cache.get(etag)
        if outcome is None:
            async with self._making:
                outcome = self._cache.get(etag)  # of another request, which was made meanwhile
                if outcome is None:
                    etag, outcome = await self._make(reads, decoders, wanted)
                    self._cache.put(etag, outcome)
        if isinstance(outcome, PictureRejected):
            raise PictureRejected(outcome.code, outcome.message)  # a new one: an error keeps where it was raised
        return Response(outcome.content, media_type=outcome.media_type, headers={**headers, "ETag": etag})

    async def _make(self, reads: Reads, decoders: DecoderPool, wanted: _Wanted) -> tuple[str, Outcome]:
        """The thumbnail or why there is none, and its ETag: the row may have changed since the first look."""
        with self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "thumbnail"):
            stored = await self._read(reads, wanted, max_bytes=self._limits.max_image_bytes)
        return _etag(wanted, stored), await self._decode(decoders, stored, wanted.side)

    async def _decode(self, decoders: DecoderPool, stored: StoredPicture, side: int) -> Thumbnail | PictureRejected:
        if stored.content is None:
            message = (
                f"The picture has {stored.size_bytes:,} bytes; at most {self._limits.max_image_bytes:,} are read "
                "(MAX_IMAGE_BYTES)."
            )
            return PictureRejected("too_many_bytes", message)
        try:
            return await decoders.shrink(stored.content, side)
        except PictureRejected as rejected:
            return PictureRejected(rejected.code, rejected.message)  # the one that was raised keeps the picture's bytes

    async def _read(self, reads: Reads, wanted: _Wanted, max_bytes: int) -> StoredPicture:
        """The picture, without its content if it has more than `max_bytes`. Raises InputError if there is none."""
        read = partial(read_picture, watch=wanted.watch, query=wanted.query, max_bytes=max_bytes)
        stored, _ = await reads.read(read)
        watch, key = wanted.watch, orjson.dumps(wanted.query.key).decode()[:200]
        if stored is None:
            which = "failed row" if wanted.query.only_failed else "row"
            raise InputError("unknown_row", f"`key`: {watch.table_name} has no {which} {key}.", "key")
        if stored.size_bytes is None:
            message = f"The row {key} of {watch.table_name} has no picture: {watch.source[0]} is NULL."
            raise InputError("no_picture", message, "key")
        return stored


def _check_pictures(watch: SearchedWatch, only_failed: bool) -> None:
    """Raises InputError: `not_pictures`, or `column_not_exposed` where that is needed."""
    if watch.kind != "image":
        raise InputError("not_pictures", f"{watch.name} embeds texts; only pictures have thumbnails.", "table")
    if not (watch.shows_pictures or only_failed):
        message = (
            f"{watch.name} does not expose its pictures: sidecar.watch(…, expose => array[…, {watch.source[0]!r}], "
            "replace => true) does."
        )
        raise InputError("column_not_exposed", message, "table")


def _etag(wanted: _Wanted, stored: StoredPicture) -> str:
    """Of this version of this row's picture at this size.

    With the key, since CLUSTER and VACUUM FULL put a row in the place of another one that the same transaction wrote;
    with the column, which another call of sidecar.watch may replace without a change of the row.
    """
    watch, key = wanted.watch, orjson.dumps(wanted.query.key, option=orjson.OPT_SORT_KEYS)
    parts = (watch.watch_id, watch.source, key, stored.version, stored.size_bytes, wanted.side)
    return f'"{hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()}"'


def _etags(request: Request) -> list[str]:
    sent = ",".join(header_values(request.scope, b"if-none-match"))
    return [each.strip().removeprefix("W/") for each in sent.split(",")]
