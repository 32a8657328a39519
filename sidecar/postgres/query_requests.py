"""Requests for query vectors that sessions make with sidecar.embed, as a sidecar takes and answers them.

Their states are drawn in sql/tables/0024_query_vectors.sql.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import SchemaError
from sidecar.postgres.heartbeat import Identity
from sidecar.postgres.statements import statement
from sidecar.postgres.vectors import pack_vectors, register_vector
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    import asyncpg

NOT_EMBEDDABLE, NO_SIDECAR, OVERLOADED = "SC002", "SC003", "53000"


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A request that this sidecar has taken. `content` is None if it has more bytes than were asked for."""

    id: int
    kind: Literal["text", "image"]
    content: bytes | None
    bytes: int
    left_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no vector: what sidecar.embed raises."""

    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The answer to a request: a (dimensions,) float32 vector, or a refusal."""

    request_id: int
    result: NDArray[np.float32] | Refusal


class QueryRequests:
    """The requests of one database for the model of one sidecar, over a session that no one else uses."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], identity: Identity) -> None:
        self._connection = connection
        self._identity = identity
        self._answer = ""

    async def register(self) -> None:
        """Announces this sidecar to sessions. Raises SchemaError without pgvector, asyncpg's errors."""
        await register_vector(self._connection)
        schema = await self._connection.fetchval(statement("pgvector_schema"))
        if schema is None:
            raise SchemaError("the pgvector extension is not installed in this database: run `sidecar migrate`")
        quoted = '"' + schema.replace('"', '""') + '"'
        self._answer = statement("answer_requests").replace("{vector_schema}", quoted)
        await self._connection.execute(statement("register_query_server"), *self._registration)

    async def renew(self, answer_s: float | None) -> None:
        """Records that this sidecar still answers, and how long an answer takes: sessions look for it after that."""
        await self._connection.execute(statement("renew_query_server"), *self._registration, answer_s)

    async def sign_off(self) -> None:
        """Sessions do not count on this sidecar any more."""
        await self._connection.execute(statement("delete_query_server"), self._identity.id)

    async def find(self) -> list[int]:
        """Unclaimed requests for this model: missed notifications, and those of dead sidecars."""
        rows = await self._connection.fetch(statement("find_requests"), self._identity.fingerprint)
        ids = [row["id"] for row in rows]
        if ids:
            await self._connection.execute(statement("free_requests"), ids)
        return ids

    async def take(self, ids: Collection[int], max_bytes: int) -> list[QueryRequest]:
        """Those of the requests that wait for this model; they are ours from now on."""
        rows = await self._connection.fetch(
            statement("take_requests"), list(ids), self._identity.fingerprint, self._identity.id, max_bytes
        )
        return [QueryRequest(**dict(row.items())) for row in rows]

    async def answer(self, answers: Sequence[QueryAnswer]) -> None:
        """Writes answers; the sessions that wait for them read them."""
        vectors = [a.result for a in answers if not isinstance(a.result, Refusal)]
        packed = iter(pack_vectors(vectors, "vector"))
        refusals = [a.result if isinstance(a.result, Refusal) else None for a in answers]
        await self._connection.execute(
            self._answer,
            [a.request_id for a in answers],
            [next(packed) if refusal is None else None for refusal in refusals],
            [refusal and _ascii(refusal.message) for refusal in refusals],
            [refusal and refusal.sqlstate for refusal in refusals],
            self._identity.id,
        )

    async def delete_old(self, cache_bytes: int) -> None:
        """Deletes the least recently used answers beyond `cache_bytes`, and requests whose session no longer waits."""
        await self._connection.execute(statement("delete_old_answers"), cache_bytes)

    @property
    def _registration(self) -> tuple[object, ...]:
        identity = self._identity
        return identity.id, identity.model_id, identity.fingerprint, identity.dimensions


def _ascii(message: str) -> str:
    """`message` with escapes: a server whose encoding lacks a character refuses the answers to all requests with it."""
    return on_one_line(message).encode("ascii", "backslashreplace").decode()
