"""How much memory the server's settings allow an index build, for `sidecar plan`. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.operations.session import Connection

_SETTINGS = """
select pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('effective_cache_size'))
"""


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """`build_bytes`: maintenance_work_mem of this session. `cache_bytes`: effective_cache_size, for the machine's."""

    build_bytes: int
    cache_bytes: int


def read_memory(connection: Connection) -> ServerMemory:
    row = connection.execute(_SETTINGS.encode()).fetchone()
    assert row is not None
    return ServerMemory(*row)
