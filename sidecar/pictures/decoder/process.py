"""The parent's side of one decoder process, and the file through which the two exchange pixels."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.concurrency import run_to_completion
from sidecar.config import environment_without_secrets
from sidecar.errors import DecoderUnavailable, PictureRejected
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.picture import DecodedPicture, Thumbnail

log = logging.getLogger(__name__)

Result = TypeVar("Result")

START_TIMEOUT_S = 30.0
MAX_LOGGED_BYTES = 16_384
"""Limit of logged stderr per picture: some codecs complain about every line of pixels."""

MAX_LINE_BYTES = 4096
"""Longer lines are logged in parts."""

_STEP_BYTES = 1 << 20

# Not `-m`: it searches the working directory first, which may contain a `sidecar` or a `types.py` of the user's.
# The package's own folder is appended to the path, in case the parent found the package by a path added at run time.
_RUN_CHILD = "import sys; sys.path.append(sys.argv.pop()); from sidecar.pictures.decoder.child import main; main()"
_PACKAGE_PARENT = str(Path(__file__).parents[3])


class DecoderDied(Exception):
    """The process ended or sent an invalid message, through no fault of a picture."""


class DecoderProcess:
    """A child process that decodes one picture at a time, for one task at a time. `child` describes the messages."""

    def __init__(self, child: asyncio.subprocess.Process, shared_file: BinaryIO, settings: DecoderSettings) -> None:
        self._child = child
        self._shared_file = shared_file
        self._settings = settings
        self._killed = False
        self._loggable_bytes = MAX_LOGGED_BYTES
        # An empty context: the child outlives the request that started it, and logs about the pictures of others.
        self._stderr = asyncio.create_task(
            self._log_stderr(), name=f"decoder-{child.pid}-stderr", context=contextvars.Context()
        )

    @classmethod
    async def start(cls, settings: DecoderSettings) -> DecoderProcess:
        """Starts a child and waits until it is ready. Raises OSError, DecoderDied."""
        shared_file = open_shared_file()
        try:
            child = await _spawn(settings, shared_file)
        except BaseException:
            shared_file.close()
            raise
        process = cls(child, shared_file, settings)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await process._receive()
        except DecoderDied as error:
            raise DecoderDied(f"it ended {await process.stop()} before it was ready") from error
        except BaseException:
            await run_to_completion(process.end(), "decoder-end")  # a cancelled start may be cancelled again
            raise
        return process

    @property
    def alive(self) -> bool:
        return not self._killed and self._child.returncode is None

    async def decode(self, image: bytes) -> DecodedPicture:
        """Decodes one picture. The child is killed on timeout and cancellation.

        Raises PictureRejected, DecoderUnavailable, and DecoderDied if the child died before it received the picture, so
        that another process may decode it.
        """
        return await self._request(image, {}, lambda answer: self._read_views(answer["weights"]))

    async def shrink(self, image: bytes, side: int) -> Thumbnail:
        """The picture with at most `side` pixels along each edge. As `decode` in all else."""
        return await self._request(image, {"side": side}, self._read_thumbnail)

    async def measure(self, head: bytes) -> tuple[int, int] | None:
        """Width and height, from the beginning of a file; None if it does not tell. As `decode` in all else."""
        return await self._request(head, {"measure": 1}, _read_size)

    async def _request(
        self, image: bytes, options: Mapping[str, int], read: Callable[[dict[str, Any]], Awaitable[Result]]
    ) -> Result:
        self._loggable_bytes = MAX_LOGGED_BYTES
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                outcome = await self._exchange(image, options, read)
        except TimeoutError as error:
            self.kill()
            raise PictureRejected(
                "decode_timeout",
                f"The picture took longer than {self._settings.timeout_s:g} s to decode (DECODE_TIMEOUT_S). "
                "Scale it down, or save it as a baseline JPEG.",
            ) from error
        except BaseException:  # the caller has gone, so no result is awaited
            self.kill()
            raise
        if isinstance(outcome, PictureRejected):
            raise outcome
        return outcome

    def kill(self) -> None:
        """Kills the child; a task that waits for its answer gets DecoderUnavailable."""
        self._killed = True
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not `Process.kill`: it may reap the exit status that asyncio waits for (gh-87744).
                os.kill(self._child.pid, signal.SIGKILL)

    async def stop(self) -> str:
        """Kills the child, releases its resources, and returns how it ended, for a message. Idempotent."""
        self.kill()
        returncode = await self._child.wait()
        assert self._child.stdin is not None
        self._child.stdin.close()
        await asyncio.wait([self._stderr])
        self._shared_file.close()
        return f"by {signal.Signals(-returncode).name}" if returncode < 0 else f"with exit code {returncode}"

    async def end(self) -> None:
        """As `stop`, for where it does not matter how it ended."""
        await self.stop()

    async def _exchange(
        self, image: bytes, options: Mapping[str, int], read: Callable[[dict[str, Any]], Awaitable[Result]]
    ) -> Result | PictureRejected:
        """Sends a picture and reads what was made of it, or the reason for its rejection."""
        try:
            await write_shared(self._shared_file, image)
        except OSError as error:
            raise DecoderUnavailable(f"There is no memory to hand over {len(image):,} bytes: {error}") from error
        self._send({"bytes": len(image), **options})
        await self._receive()
        try:
            answer = await self._receive()
            if answer["event"] == "rejected":
                return PictureRejected(answer["code"], answer["message"])
            return await read(answer)
        except (DecoderDied, LookupError, EOFError) as error:
            return await self._reject_crashing_picture(error)

    async def _read_views(self, weights: list[float]) -> DecodedPicture:
        side = self._settings.views.view_size
        views = await read_shared(self._shared_file, (len(weights), side, side, 3))
        return DecodedPicture(views, np.array(weights, dtype=np.float32))

    async def _read_thumbnail(self, answer: dict[str, Any]) -> Thumbnail:
        content = await read_shared(self._shared_file, (answer["bytes"],))
        return Thumbnail(answer["media_type"], content.tobytes())

    async def _reject_crashing_picture(self, error: Exception) -> PictureRejected:
        """The rejection of a picture on which the child died. Raises DecoderUnavailable if it was killed instead."""
        if self._killed:
            raise DecoderUnavailable("The decoder processes are being ended.") from error
        ending = await self.stop()
        log.warning("decoder process %d ended %s while it decoded a picture", self._child.pid, ending)
        return PictureRejected("decode_crashed", f"The decoder process ended {ending} on this picture; save it again.")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        if self._child.stdin.is_closing():
            raise DecoderDied
        self._child.stdin.write(json.dumps(message).encode() + b"\n")

    async def _receive(self) -> Any:
        assert self._child.stdout is not None
        try:
            return json.loads(await self._child.stdout.readline())
        except ValueError as error:  # the end of the pipe, or not a message
            raise DecoderDied from error

    async def _log_stderr(self) -> None:
        """Logs stderr in whole lines: a read from a pipe may end anywhere."""
        assert self._child.stderr is not None
        rest = b""
        while words := await self._child.stderr.read(4096):
            lines, newline, rest = (rest + words).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = lines + newline + rest, b""
            self._log(lines)
        self._log(rest)

    def _log(self, words: bytes) -> None:
        text = words.decode(errors="replace").rstrip()
        if text and self._loggable_bytes > 0:
            log.warning("decoder process %d: %s", self._child.pid, text)
        self._loggable_bytes -= len(words)


async def _spawn(settings: DecoderSettings, shared_file: BinaryIO) -> asyncio.subprocess.Process:
    descriptor = shared_file.fileno()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _RUN_CHILD),
        *(settings.to_json(), str(descriptor), str(os.getpid()), _PACKAGE_PARENT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(descriptor,),
        env=environment_without_secrets(),
    )


def open_shared_file() -> BinaryIO:
    """An anonymous file that parent and child share; it is gone when both have closed it. Raises OSError.

    Read and written instead of mapped: when memory is short, a write fails, while a store into a mapping kills the
    process with SIGBUS. A memfd if possible, because containers often limit /dev/shm to 64 MB.
    """
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("sidecar-picture"), "r+b", buffering=0)
    else:  # noqa: RET505 (mypy understands platforms only this way)
        return tempfile.TemporaryFile(buffering=0)


async def write_shared(file: BinaryIO, content: bytes) -> None:
    """Writes `content` to the start of the file, in steps between which other tasks run. Raises OSError."""
    view = memoryview(content)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(file.fileno(), view[offset : offset + _STEP_BYTES], offset)
        await asyncio.sleep(0)


async def read_shared(file: BinaryIO, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads an array of `shape`, uint8, from the start of the file, in steps. Raises EOFError if it is shorter."""
    array = np.empty(shape, dtype=np.uint8)
    view = array.reshape(-1).data
    offset = 0
    while offset < len(view):
        count = os.preadv(file.fileno(), [view[offset : offset + _STEP_BYTES]], offset)
        if count == 0:
            raise EOFError(f"{len(view)} bytes were expected, {offset} are there")
        offset += count
        await asyncio.sleep(0)
    return array


async def _read_size(answer: dict[str, Any]) -> tuple[int, int] | None:
    return None if answer["size"] is None else (int(answer["size"][0]), int(answer["size"][1]))
