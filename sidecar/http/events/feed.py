"""Samples the history, and sends samples and changes of the status to the clients of /events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import orjson

from sidecar.concurrency import running_tasks
from sidecar.errors import TooManyListeners
from sidecar.http.health import StatusAnswer
from sidecar.http.json_response import to_json
from sidecar.telemetry.history import INTERVAL_S, Backlog, History, Sample

LIVE_INTERVAL_S = 2.0
MAX_LISTENERS = 32
MAX_WAITING_EVENTS = 32  # of a listener: a minute of samples
_IDLE_READING_S = 60.0  # between readings of the database for the history, without listeners and work
_RETRY_S = 10.0


class Listener:
    """The events that one client has not been sent yet; None is the end. The oldest gives way to one too many."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING_EVENTS)

    def put(self, event: bytes | None) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(event)

    async def next(self) -> bytes | None:
        return await self._waiting.get()


class EventFeed:
    """`refresh` brings up to date what `backlogs` and `report` return, at a limited rate, in a second at most.

    `backlogs`: rows that wait and failed, by watch; None: unknown. Without listeners nothing is kept but the history.
    """

    def __init__(
        self,
        history: History,
        refresh: Callable[[], Awaitable[None]],
        backlogs: Callable[[], Mapping[str, Backlog] | None],
        report: Callable[[], StatusAnswer],
    ) -> None:
        self._history = history
        self._refresh = refresh
        self._backlogs = backlogs
        self._report = report
        self._listeners: set[Listener] = set()
        self._wanted = asyncio.Event()
        self._status = b""  # as last sent
        self._changing = b""
        self.closed = False

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener, whose first event is the history. It hears the end at once if the feed is closed."""
        listener = Listener()
        listener.put(event("history", self._history.as_json()))
        if self._status:
            listener.put(self._status)
        if self.closed:
            listener.put(None)
        self._listeners.add(listener)
        self._wanted.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._wanted.clear()

    def check_room(self) -> None:
        """Raises TooManyListeners if there is no place for another listener."""
        if len(self._listeners) >= MAX_LISTENERS:
            message = f"{MAX_LISTENERS} clients follow /events, and no more may. /status has the same numbers."
            raise TooManyListeners(message, _RETRY_S)

    def close(self) -> None:
        """Ends all listeners, also later ones."""
        self.closed = True
        for listener in self._listeners:
            listener.put(None)

    async def run(self) -> None:
        """Samples until cancelled."""
        work = {"history": self._keep_history(), "live-events": self._keep_sending()}
        async with running_tasks(work) as tasks:
            await asyncio.gather(*tasks)

    async def _keep_history(self) -> None:
        loop, sampler = asyncio.get_running_loop(), self._history.sampler()
        due_at = loop.time()
        read_at, sample = due_at - _IDLE_READING_S, None
        while True:
            due_at = max(due_at + INTERVAL_S, loop.time())
            await asyncio.sleep(due_at - loop.time())
            if due_at - read_at >= _IDLE_READING_S or (sample is not None and _is_at_work(sample)):
                read_at = due_at
                await self._refresh()
            sample = sampler.sample(self._backlogs())
            self._history.append(sample)

    async def _keep_sending(self) -> None:
        while True:
            await self._wanted.wait()
            sampler = self._history.sampler()
            while self._listeners:
                await self._refresh()
                self._send_status()
                await asyncio.sleep(LIVE_INTERVAL_S)
                self._send(event("sample", orjson.dumps(sampler.sample(self._backlogs()))))
            self._status = self._changing = b""

    def _send_status(self) -> None:
        """Sends the status, if more of it has changed than the objectives, which do with each query."""
        status = self._report()
        changing = to_json(status.model_copy(update={"objectives": {}}))
        if changing != self._changing:
            self._changing, self._status = changing, event("status", to_json(status))
            self._send(self._status)

    def _send(self, sent: bytes) -> None:
        for listener in self._listeners:
            listener.put(sent)


def _is_at_work(sample: Sample) -> bool:
    return any(point.pending or point.rows_per_s for point in sample.watches.values())


def event(name: str, data: bytes) -> bytes:
    """A server-sent event. `data` is JSON on one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
