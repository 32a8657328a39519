"""A pool of decoder processes: a picture that crashes or hangs its decoder affects no other picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sidecar.concurrency import Backoff, run_to_completion, running_tasks
from sidecar.errors import DecoderUnavailable, PictureRejected
from sidecar.pictures.decoder.process import DecoderDied, DecoderProcess
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.picture import DecodedPicture, Thumbnail
from sidecar.ranked_semaphore import RankedSemaphore
from sidecar.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_ATTEMPTS = 4
RANKS = 4
MIN_SHARE = 0.1
"""Least share of the decoded pictures for each rank with waiting callers."""

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 0.4
"""Pauses between attempts to start a process."""


class DecoderPool:
    """`settings.processes` children that each decode one picture at a time.

    Callers are served by rank, then in order of their calls; no rank is passed over more than nine times in a row.

    A dead child is replaced by the next caller that gets its slot.
    """

    def __init__(self, settings: DecoderSettings, telemetry: Telemetry | None = None) -> None:
        self._settings = settings
        self._telemetry = telemetry or Telemetry()
        self._processes: list[DecoderProcess | None] = [None] * settings.processes
        self._slots = RankedSemaphore(settings.processes, dict.fromkeys(range(RANKS), MIN_SHARE))
        self._idle = list(range(settings.processes))  # as many as `_slots` has free
        self._closed = False

    @property
    def alive(self) -> int:
        """Number of living children."""
        return sum(process is not None and process.alive for process in self._processes)

    async def start(self) -> None:
        """Starts all children and waits until each is ready. Raises DecoderUnavailable."""
        slots = range(self._settings.processes)
        try:
            await self._process_in_slot(slots[0])  # alone, so that a broken installation is logged once
            starting = {f"decoder-start-{slot}": self._process_in_slot(slot) for slot in slots[1:]}
            async with running_tasks(starting) as tasks:
                await asyncio.gather(*tasks)
        except BaseException:
            await self.close()
            raise

    async def decode(self, image: bytes, rank: int = 0) -> DecodedPicture:
        """Decodes a picture, turns it upright and cuts it into views. `rank`: 0 goes first, up to RANKS - 1.

        If the caller is cancelled, its child is killed and replaced. Raises PictureRejected, DecoderUnavailable.
        """
        return await self._run(image, rank, lambda process: process.decode(image))

    async def shrink(self, image: bytes, side: int, rank: int = 0) -> Thumbnail:
        """The picture with at most `side` pixels along each edge. As `decode` in all else."""
        return await self._run(image, rank, lambda process: process.shrink(image, side))

    async def measure(self, head: bytes, rank: int = RANKS - 1) -> tuple[int, int] | None:
        """Width and height of a picture, from the beginning of its file; None if it does not tell them.

        As `decode` in all else.
        """
        return await self._run(head, rank, lambda process: process.measure(head))

    async def _run(
        self, image: bytes, rank: int, work: Callable[[DecoderProcess], Coroutine[Any, Any, Result]]
    ) -> Result:
        if len(image) > self._settings.max_image_bytes:
            raise PictureRejected(
                "too_many_bytes",
                f"The picture has {len(image):,} bytes; at most {self._settings.max_image_bytes:,} are read "
                "(MAX_IMAGE_BYTES). Scale it down, or compress it more.",
            )
        for _ in range(MAX_ATTEMPTS):
            try:
                return await self._run_once(rank, work)
            except DecoderDied:
                log.warning("a decoder process died before it received its picture; another process decodes it")
        raise DecoderUnavailable(f"Decoder processes died {MAX_ATTEMPTS} times before they began with a picture.")

    async def close(self) -> None:
        """Stops all children; callers that wait for a picture get DecoderUnavailable. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for process in self._processes:
            if process is not None:
                process.kill()
        for _ in self._processes:  # once all slots are acquired, no process is in use or awaited
            await self._slots.acquire(RANKS)
        for process in self._processes:
            if process is not None:
                await process.stop()

    async def _run_once(self, rank: int, work: Callable[[DecoderProcess], Coroutine[Any, Any, Result]]) -> Result:
        self._check_open()
        async with self._slots.slot(rank):
            slot = self._idle.pop(0)
            try:
                process = await self._process_in_slot(slot)
                return await work(process)
            finally:
                self._idle.append(slot)

    async def _process_in_slot(self, slot: int) -> DecoderProcess:
        """The living process of a slot; starts one if there is none."""
        process = self._processes[slot]
        if process is None or not process.alive:
            if process is not None:
                await process.stop()
                self._telemetry.decoder_restarted()
            process = await self._start_process()
            if self._closed:  # `close` has not seen it; `start` cancels the others when the first one fails
                await run_to_completion(process.end(), "decoder-end")
            self._processes[slot] = process
        self._check_open()
        return process

    async def _start_process(self) -> DecoderProcess:
        backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S)
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await asyncio.sleep(backoff.next_s())
            self._check_open()
            try:
                return await DecoderProcess.start(self._settings)
            except (OSError, DecoderDied) as error:  # OSError: also TimeoutError
                log.warning("a decoder process did not start: %r", error)
        raise DecoderUnavailable(
            f"A decoder process could not be started in {MAX_ATTEMPTS} attempts; the log above says why."
        )

    def _check_open(self) -> None:
        if self._closed:
            raise DecoderUnavailable("The decoder processes are ended; the service is shutting down.")
