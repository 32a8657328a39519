"""The rows of the views sidecar.status, failures, failures_by_reason and index_builds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from sidecar.postgres.database import Database
from sidecar.postgres.statements import statement

Health: TypeAlias = Literal["ok", "working", "warning", "problem"]

# The beginnings of `state` while nothing is embedded, as the SQL function state_of writes them.
_NEEDS_REPAIR = ("broken", "denied")
_BLOCKED = (*_NEEDS_REPAIR, "paused", "waiting for")
_IDLE = (*_BLOCKED, "no sidecar")


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """A row of sidecar.status. `estimated`: some counts are the planner's.

    `index_statement` builds what is missing of the index. `rows_per_s` is the rate cap that a user set. `outdated` of
    the `embedded` rows and `retrying` of the `failed` ones are among the `pending` ones, too.
    `recall` is the share of the `recall_k` nearest rows that the index finds with `recall_ef_search`, as last measured.
    `recall_setting` is the setting which that is a value of; None for an index method without one.
    """

    relation: str
    target: str
    kind: str
    source: list[str]
    companion: str | None
    state: str
    rows: int | None
    embedded: int
    pending: int | None
    failed: int
    empty: int
    truncated: int
    coverage: float | None
    oldest_pending_s: float | None
    lag_ms: float | None
    index: str | None
    model: str | None
    fingerprint: str | None
    query: str | None
    estimated: bool
    watch_id: int
    index_statement: str | None
    rows_per_s: float | None
    companion_view: str | None
    unreadable: int
    outdated: int
    retrying: int
    health: Health
    storage: str
    recall: float | None = None
    recall_k: int | None = None
    recall_ef_search: int | None = None
    recall_at: datetime | None = None
    recall_setting: str | None = None

    @property
    def name(self) -> str:
        """`relation.target`, the name of the watch in output and metrics."""
        return f"{self.relation}.{self.target}"

    @property
    def rows_done(self) -> int:
        """Rows that are not pending."""
        return max((self.rows or 0) - (self.pending or 0), 0)

    @property
    def up_to_date(self) -> int:
        """Rows whose vector is that of their present content."""
        return max(self.embedded - self.outdated, 0)

    @property
    def is_broken(self) -> bool:
        return self.state.startswith("broken")

    @property
    def needs_repair(self) -> bool:
        """Nothing is embedded until a person repairs the watch, or grants the sidecar its rights."""
        return self.state.startswith(_NEEDS_REPAIR)

    @property
    def is_blocked(self) -> bool:
        """No running sidecar may embed rows of the watch: it needs repair, is paused, or waits for another model."""
        return self.state.startswith(_BLOCKED)

    @property
    def is_idle(self) -> bool:
        """The watch is blocked, or no sidecar is running."""
        return self.state.startswith(_IDLE)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row of sidecar.failures. `key` is JSON."""

    relation: str
    target: str
    key: str
    reason: str
    message: str
    attempts: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FailuresByReason:
    """A row of sidecar.failures_by_reason. `example_key` is JSON. No `retry_statement`: only other content helps."""

    relation: str
    target: str
    reason: str
    failures: int
    oldest: datetime
    newest: datetime
    example_key: str
    example_message: str
    advice: str
    rows_statement: str | None
    retry_statement: str | None


@dataclass(frozen=True, slots=True)
class MisreadText:
    """A row of sidecar.truncated_texts or unreadable_texts. `key` is JSON."""

    key: str
    embedded_at: datetime


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """A row of sidecar.index_builds; `percent` is the progress of the phase."""

    watch_id: int
    phase: str
    percent: float
    tuples_done: int


async def read_status(database: Database) -> list[WatchStatus]:
    """The status of every watch. Raises DatabaseError."""
    async with database.connection() as connection:
        records = await connection.fetch(statement("status"))
    return [
        WatchStatus(
            **{
                **{name: value for name, value in record.items() if name != "oldest_pending"},
                "coverage": None if record["coverage"] is None else float(record["coverage"]),
                "oldest_pending_s": _seconds(record["oldest_pending"]),
            }
        )
        for record in records
    ]


async def read_failures(database: Database, limit: int = 1000) -> list[Failure]:
    """The newest failures first. Raises DatabaseError."""
    async with database.connection() as connection:
        records = await connection.fetch(statement("failures"), limit)
    return [Failure(**dict(record.items())) for record in records]


def _seconds(interval: timedelta | None) -> float | None:
    return None if interval is None else round(interval.total_seconds(), 3)
