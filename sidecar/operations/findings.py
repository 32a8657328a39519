"""The findings of `sidecar doctor`: faults, why they matter, and the command that repairs each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["problem", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds above which something is a finding."""

    long_transaction_s: float = 300
    dead_rows: int = 100_000
    slot_lag_bytes: int = 1024**3
    clock_skew_s: float = 5
    sample_rows: int = 1000
    lock_sessions: int = 4  # that lock a whole partition tree at the same time


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault. `remedy` is one or more statements, or a command, to be run in `run_in`."""

    check: str
    severity: Severity
    subject: str
    what: str
    why: str
    remedy: str
    run_in: Literal["psql", "shell"]


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A check that could not run, and the reason."""

    check: str
    reason: str


@dataclass(slots=True)
class Checkup:
    """The result of all checks. `facts` are measurements by name."""

    findings: list[Finding] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
