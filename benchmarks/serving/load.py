"""Load generators: a closed loop, whose clients wait for each answer, and an open loop, whose arrivals do not."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.serving.client import Answer, Connection, connect, text_request, texts_request

_INITIAL_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Load:
    """Answers to the requests of `duration_s`. `late_ms`: the p99 of how late requests were sent."""

    answers: Sequence[Answer]
    began: float
    duration_s: float
    late_ms: float = 0.0

    @property
    def answered_per_s(self) -> float:
        """Answers with status 200 within `duration_s`: requests that are still queued then do not count."""
        ends = self.began + self.duration_s
        return sum(answer.status == 200 and answer.answered_at <= ends for answer in self.answers) / self.duration_s

    def count(self, status: int) -> int:
        return sum(answer.status == status for answer in self.answers)

    def latency_ms(self, percentile: float) -> float:
        """Over the requests that were answered with 200."""
        latencies = [answer.latency_s for answer in self.answers if answer.status == 200]
        return float(np.percentile(latencies, percentile)) * 1000

    def check_all_answered(self) -> None:
        """Raises RuntimeError if a request failed, which makes the figures of the scenario meaningless."""
        failed = [answer.status for answer in self.answers if answer.status != 200]
        if failed or not self.answers:
            raise RuntimeError(f"{len(failed)} of {len(self.answers)} requests failed, with {sorted(set(failed))}")


def requests(texts: int = 1) -> Iterator[bytes]:
    """Endless requests of that many texts, all different, in other processes too."""
    run = f"{time.time_ns():x}"
    words = (f"a photo of bicycle number {number} in {run}" for number in itertools.count())
    if texts == 1:
        return map(text_request, words)
    return (texts_request(list(itertools.islice(words, texts))) for _ in itertools.count())


async def closed_loop(port: int, clients: int, duration_s: float, think_s: float = 0.0) -> Load:
    """Each client sends a request, waits for the answer, pauses for a random time up to `think_s`, and repeats."""
    connections = [await connect(port) for _ in range(clients)]
    answers: list[Answer] = []
    texts = requests()
    began = time.perf_counter()
    ends = began + duration_s

    async def repeat(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while time.perf_counter() < ends and connection.open:
            answered: asyncio.Future[Answer] = loop.create_future()
            connection.send(next(texts), answered.set_result)
            answers.append(await answered)
            if think_s:
                await asyncio.sleep(random.uniform(0, think_s))

    await asyncio.gather(*(repeat(connection) for connection in connections))
    for connection in connections:
        connection.close()
    return Load(answers, began, duration_s)


async def open_loop(
    port: int,
    texts: Iterator[bytes],
    rate_per_s: float,
    duration_s: float,
    on_second: Callable[[], object],
    connections: int = _INITIAL_CONNECTIONS,
) -> Load:
    """Poisson arrivals of requests, independent of answers, each on an idle connection or a new one.

    Latencies are measured from when a request was due. Returns when all are answered. `on_second` is called about once
    per second. `connections` are open from the start.
    """
    arrivals = _Arrivals(port, texts)
    await arrivals.open(connections)
    due = began = time.perf_counter()
    seconds = 0
    while (due := due + random.expovariate(rate_per_s)) < began + duration_s:
        if (pause_s := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause_s)
            if time.perf_counter() - began > seconds:
                seconds += 1
                on_second()
        await arrivals.arrive(due)
    await arrivals.drain()
    return Load(arrivals.answers, began, duration_s, float(np.percentile(arrivals.late_s, 99)) * 1000)


class _Arrivals:
    """The connections of an open loop, and their answers."""

    def __init__(self, port: int, texts: Iterator[bytes]) -> None:
        self.answers: list[Answer] = []
        self.late_s: list[float] = []
        self._port = port
        self._idle: deque[Connection] = deque()
        self._busy = 0
        self._all_idle = asyncio.Event()
        self._texts = texts

    async def open(self, count: int) -> None:
        self._idle.extend([await connect(self._port) for _ in range(count)])

    async def arrive(self, due: float) -> None:
        try:
            connection = self._longest_idle() or await connect(self._port)
        except OSError:
            now = time.perf_counter()
            self.answers.append(Answer(0, now - due, now))
            return
        self._busy += 1

        def on_answer(answer: Answer) -> None:
            self._busy -= 1
            self.answers.append(answer)
            if connection.open:
                self._idle.append(connection)
            if not self._busy:
                self._all_idle.set()

        self.late_s.append(time.perf_counter() - due)
        connection.send(next(self._texts), on_answer, due)

    def _longest_idle(self) -> Connection | None:
        """The open connection that has been idle longest, so that the server closes none for idling."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.open:
                return connection
        return None

    async def drain(self) -> None:
        """Wait for all answers, and close the connections."""
        self._all_idle.clear()
        if self._busy:
            await self._all_idle.wait()
        while self._idle:
            self._idle.pop().close()
