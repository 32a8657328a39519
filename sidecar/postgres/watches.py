"""Watches as immutable values, loaded from the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from sidecar.postgres.rendering import Identifiers, render
from sidecar.postgres.statements import statement

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class Watch:
    """One watched pair of table and target. `scans` are the purposes of its unfinished scans.

    `rows_per_s` is this sidecar's share of the rate cap that a user set; None without a cap.
    """

    id: int
    identifiers: Identifiers
    kind: str
    target_name: str
    dimensions: int
    index_kind: str
    model: str | None
    fingerprint: str | None
    paused: bool
    rows_per_s: float | None
    broken: str | None
    scans: frozenset[str]

    @property
    def quoted_name(self) -> str:
        """The watch's name with identifiers quoted as in SQL, for logs: "public"."products".photo_embedding"""
        return f"{self.identifiers.table}.{self.identifiers.target}"

    @property
    def name(self) -> str:
        """The watch's name in metrics and traces: public.products.photo_embedding"""
        return f"{self.identifiers.table}.{self.target_name}"

    @property
    def has_companion(self) -> bool:
        return self.identifiers.companion is not None

    def sql(self, name: str, *, continued: bool = False) -> str:
        """The named statement with this watch's identifiers. `continued`: for a page that follows another one."""
        return render(name, self.identifiers, continued=continued)

    def accepts(self, model_id: str, fingerprint: str, dimensions: int) -> bool:
        """Whether this watch takes vectors of this encoder."""
        if self.dimensions != dimensions:
            return False
        if self.fingerprint is not None:
            return self.fingerprint == fingerprint
        return self.model is None or self.model in (model_id, fingerprint)


async def load_watches(connection: Connection) -> list[Watch]:
    """All active watches in the order of their creation, except those whose table is gone."""
    rows = await connection.fetch(statement("load_watches"))
    return [_watch(row) for row in rows if row["relation"] and (row["companion"] or not row["has_companion"])]


def _watch(row: asyncpg.Record) -> Watch:
    identifiers = Identifiers(
        watch_id=row["id"],
        table=row["relation"],
        companion=row["companion"],
        key_columns=tuple(row["key_columns"]),
        key_literals=tuple(row["key_literals"]),
        key_types=tuple(row["key_types"]),
        key_builtin=tuple(row["key_builtin"]),
        key_domains=tuple(row["key_domains"]),
        companion_key_domains=tuple(row["companion_key_domains"]),
        key_collations=tuple(row["key_collations"]),
        companion_key_collations=tuple(row["companion_key_collations"]),
        source=tuple(row["source"]),
        source_types=tuple(row["source_types"]),
        source_is_padded=tuple(row["source_is_padded"]),
        target=row["target"],
        column_numbers=tuple(row["column_numbers"]),
        target_number=row["target_number"],
        is_image=row["kind"] == "image",
        vector_schema=row["vector_schema"],
        dimensions=row["dimensions"],
        storage=row["storage"],
        is_partitioned=row["is_partitioned"],
    )
    return Watch(
        id=row["id"],
        identifiers=identifiers,
        kind=row["kind"],
        target_name=row["target_name"],
        dimensions=row["dimensions"],
        index_kind=row["index_kind"],
        model=row["model"],
        fingerprint=row["fingerprint"],
        paused=row["paused"],
        rows_per_s=row["rows_per_s"],
        broken=row["broken"],
        scans=frozenset(row["scans"]),
    )


async def pin_fingerprint(connection: Connection, watch: Watch, model_id: str, fingerprint: str) -> bool:
    """Binds a watch to this encoder's vector space, before its first vector. False: another encoder was faster."""
    if await connection.fetchval(statement("pin_fingerprint"), watch.id, fingerprint, model_id) is not None:
        return True
    return bool(await connection.fetchval(statement("read_fingerprint"), watch.id) == fingerprint)
