"""A part of the benchmarks: what it measures, and what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import Self

import uvloop

from benchmarks.figure import Figure
from benchmarks.scratch import scratch_server
from tests.servers import Server


class Group(Enum):
    """A section of docs/benchmarks.md with a picture of its own: its file's name and its heading."""

    DATABASE = ("database", "What a watch costs your database")
    QUEUE = ("queue", "The queue")
    STORAGE = ("storage", "Vector or halfvec")
    LAG = ("lag", "From commit to vector")
    INGEST = ("ingest", "Rows per second")
    CEILING = ("ceiling", "What one Postgres gives")
    PICTURES = ("pictures", "Pictures")
    SERVING = ("serving", "Requests")
    OVERLOAD = ("overload", "Overload and memory")
    MODEL = ("model", "Requests, with the demo's model on the CPU")

    @property
    def file_name(self) -> str:
        return f"benchmarks-{self.value[0]}.svg"

    @property
    def heading(self) -> str:
        return self.value[1]


class Run:
    """What a part is given. `rounds`: how often it measures. `full`: at the sizes that take long.

    `minutes`: how long a part measures that is worth more the longer it goes on. `pgai`: the path of pgai's program.
    """

    def __init__(
        self, *, rounds: int = 5, full: bool = False, minutes: float | None = None, pgai: str | None = None
    ) -> None:
        self.rounds = rounds
        self.full = full
        self.minutes = minutes
        self.pgai = pgai
        self._stack = ExitStack()
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """A Postgres of the benchmarks' own, started for the first part that needs one."""
        if self._server is None:
            self._server = self._stack.enter_context(scratch_server())
        return self._server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Part:
    """`measure` may be a coroutine function. `by_default`: without arguments, `make bench` measures it."""

    name: str
    group: Group
    measure: Callable[[Run], list[Figure] | Awaitable[list[Figure]]]
    by_default: bool = True

    def run(self, run: Run) -> list[Figure]:
        figures = self.measure(run)
        return figures if isinstance(figures, list) else uvloop.run(_awaited(figures))


async def _awaited(figures: Awaitable[list[Figure]]) -> list[Figure]:
    return await figures
