"""What a Postgres on this machine has spent: CPU time of all its processes, and WAL."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import psycopg


@dataclass(frozen=True, slots=True)
class Spent:
    cpu_s: float
    wal_bytes: float


class PostgresUsage:
    """Counts from its creation on."""

    def __init__(self, url: str) -> None:
        self._url = url
        row = self._ask("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::float8")
        self._postmaster = psutil.Process(int(row))
        self._at_start = self._read()

    def since_start(self) -> Spent:
        now = self._read()
        return Spent(now.cpu_s - self._at_start.cpu_s, now.wal_bytes - self._at_start.wal_bytes)

    def _read(self) -> Spent:
        """Processes that ended are counted by the postmaster, whose children they were."""
        times = self._postmaster.cpu_times()
        seconds = times.user + times.system + times.children_user + times.children_system
        for process in self._postmaster.children(recursive=True):
            try:
                of_one = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            seconds += of_one.user + of_one.system
        return Spent(seconds, self._ask("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"))

    def _ask(self, query: str) -> float:
        with psycopg.connect(self._url) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return float(row[0])
