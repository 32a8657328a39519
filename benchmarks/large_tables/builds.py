"""Time and memory of HNSW builds by rows, dimensions and maintenance_work_mem."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import psutil
import psycopg

from benchmarks.scratch import scratch_database
from tests.servers import Server

_NO_LONGER_FITS = re.compile(r"no longer fits .* after (\d+) tuples")


@dataclass(frozen=True, slots=True)
class Build:
    """`memory_share`: maintenance_work_mem as a part of what pgvector takes for these rows."""

    rows: int
    dimensions: int
    memory_share: float = 1.2
    opclass: str = "halfvec"

    @property
    def name(self) -> str:
        share = "" if self.memory_share > 1 else f", memory for {self.memory_share:.0%}"
        return f"{self.rows:,} rows of {self.opclass}({self.dimensions}){share}"


SMALL_BUILDS = (
    *(Build(rows, 8) for rows in (25_000, 50_000, 100_000)),
    *(Build(rows, 128) for rows in (10_000, 20_000, 40_000)),
    *(Build(rows, 1152) for rows in (4_000, 8_000, 16_000)),
    Build(8_000, 1152, opclass="vector"),
    *(Build(10_000, 128, share) for share in (0.75, 0.5, 0.25)),
)
BUILDS = (
    *(Build(rows, 8) for rows in (25_000, 50_000, 100_000, 200_000, 400_000)),
    *(Build(rows, 128) for rows in (25_000, 50_000, 100_000)),
    *(Build(rows, 1152) for rows in (8_000, 16_000, 32_000, 64_000)),
    *(Build(rows, 1152, opclass="vector") for rows in (8_000, 16_000)),
    *(Build(50_000, 128, share) for share in (0.75, 0.5, 0.25)),
)


def measure_build(server: Server, build: Build) -> dict[str, float]:
    """Seconds, of them processor time, bytes of the index, and how many rows fitted into memory. One process builds."""
    with scratch_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
        _fill(connection, build)
        connection.execute("set max_parallel_maintenance_workers = 0")
        memory_kb = max(1024, round(_graph_bytes(connection, build) * build.memory_share / 1024))
        connection.execute(f"set maintenance_work_mem = '{memory_kb}kB'".encode())
        backend = psutil.Process(connection.info.backend_pid)
        began, cpu_s = time.perf_counter(), _cpu_s(backend)
        connection.execute(f"create index embedded on items using hnsw (embedding {build.opclass}_cosine_ops)".encode())
        took_s, cpu_s = time.perf_counter() - began, _cpu_s(backend) - cpu_s
        size = connection.execute("select pg_relation_size('embedded')").fetchone()
        assert size is not None
        fitted = [int(found[1]) for notice in notices if (found := _NO_LONGER_FITS.search(notice))]
        return {
            "seconds": round(took_s, 3),
            "cpu_seconds": round(cpu_s, 3),
            "index_bytes": float(size[0]),
            "memory_bytes": memory_kb * 1024.0,
            "rows_in_memory": float(fitted[0] if fitted else build.rows),
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _fill(connection: psycopg.Connection, build: Build) -> None:
    connection.execute(f"create table items (embedding {build.opclass}({build.dimensions}))".encode())
    connection.execute("alter table items alter embedding set storage external")
    connection.execute("select setseed(0.5)")
    # Around 1,000 centres, as embeddings are: evenly spread vectors have no neighbours to speak of.
    connection.execute(
        f"create temp table centres as select i, array_agg(random()::real - 0.5) as centre"
        f" from generate_series(1, 1000) i, generate_series(1, {build.dimensions}) group by i".encode()
    )
    connection.execute(
        f"insert into items select (select array_agg(c + (random()::real - 0.5) * 0.5) from unnest(centre) c)"
        f"::real[]::{build.opclass} from generate_series(1, {build.rows}) n join centres on i = n % 1000 + 1".encode()
    )
    connection.execute("vacuum analyze items")


def _graph_bytes(connection: psycopg.Connection, build: Build) -> float:
    """What the sidecar expects, as `sidecar doctor` does."""
    row = connection.execute(
        "select sidecar_internal.graph_bytes(jsonb_populate_record(null::sidecar_internal.watches, "
        "jsonb_build_object('dimensions', %s::int, 'index_kind', %s::text)), %s::bigint)",
        [build.dimensions, build.opclass, build.rows],
    ).fetchone()
    assert row is not None
    return float(row[0])
