"""The decoder process: reads pictures from a file shared with its parent, and writes their views there.

Parent and child exchange lines of JSON over the child's stdin and stdout:

    child → parent   {"event": "ready"}                                  once
    parent → child   {"bytes": 12345}                                    a picture is at the start of the file
                  or {"bytes": 12345, "side": 192}                       its thumbnail is wanted, not its views
                  or {"bytes": 12345, "measure": 1}                      its size is wanted; the file may end early
    child → parent   {"event": "taken"}                                  it was read: a later crash is its fault
    child → parent   {"event": "decoded", "weights": [0.5, 0.5]}         its views are at the start of the file
                  or {"event": "shrunk", "media_type": "…", "bytes": 99} its thumbnail is at the start of the file
                  or {"event": "measured", "size": [640, 480]}           or null: it is not known
                  or {"event": "rejected", "code": "…", "message": "…"}

The child never imports torch or numpy: it starts in a tenth of a second, and leaves a broken codec little to damage.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

from PIL import AvifImagePlugin, Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_pixels, keep_size, read_size
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.thumbnails import make_thumbnail
from sidecar.pictures.views.cutting import cut_rgb_views
from sidecar.pictures.views.plan import find_reduction, plan_views

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arguments: settings (JSON), descriptor of the shared file, process id of the parent."""
    settings = DecoderSettings.from_json(sys.argv[1])
    shared_file, parent_pid = int(sys.argv[2]), int(sys.argv[3])
    _ignore_signals_and_die_with(parent_pid)
    # Output of codecs goes to stderr, which the parent logs, instead of between the messages.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Image.MAX_IMAGE_PIXELS = None  # decode_pixels checks
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    _limit_memory(settings.memory_bytes)
    _serve(settings, shared_file, messages)


def _ignore_signals_and_die_with(parent_pid: int) -> None:
    """Ignores signals to the process group (Ctrl-C, service managers): the parent finishes its work, then closes stdin.

    A killed parent also closes stdin, but a child that is decoding would not notice; hence PDEATHSIG on Linux.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(1)


def _limit_memory(limit_bytes: int) -> None:
    if sys.platform != "linux":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _serve(settings: DecoderSettings, shared_file: int, messages: BinaryIO) -> None:
    _send(messages, {"event": "ready"})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        image = os.pread(shared_file, request["bytes"], 0)
        _send(messages, {"event": "taken"})
        _send(messages, _answer(image, request, settings, shared_file))


def _send(messages: BinaryIO, message: dict[str, object]) -> None:
    messages.write(json.dumps(message).encode() + b"\n")


def _answer(image: bytes, request: Mapping[str, int], settings: DecoderSettings, shared_file: int) -> dict[str, object]:
    """The message about a picture: its views or its thumbnail are in the shared file, or it is rejected."""
    try:
        if "measure" in request:
            return {"event": "measured", "size": read_size(image)}
        if "side" in request:
            media_type, content = make_thumbnail(image, request["side"], settings.max_image_pixels)
            return {"event": "shrunk", "media_type": media_type, "bytes": os.pwrite(shared_file, content, 0)}
        return {"event": "decoded", "weights": _decode(image, settings, shared_file)}
    except PictureRejected as error:
        return {"event": "rejected", "code": error.code, "message": error.message}
    except MemoryError:
        message = (
            f"Decoding the picture needs more than the {settings.memory_bytes >> 20} MiB that a decoder process "
            "may use (DECODE_MEMORY_BYTES). Scale it down, or save it as a baseline JPEG."
        )
        return {"event": "rejected", "code": "decode_out_of_memory", "message": message}
    except Exception as error:  # whatever a codec raised, the process goes on with the next picture
        log.exception("decoding a picture of %d bytes failed", len(image))
        message = f"The decoder failed on this picture ({type(error).__name__}: {error}); save it again."
        return {"event": "rejected", "code": "decode_crashed", "message": message}


def _decode(image: bytes, settings: DecoderSettings, shared_file: int) -> tuple[float, ...]:
    """Overwrites `image` in the shared file with its views; returns their weights."""
    choose_reduction = partial(find_reduction, settings=settings.views) if settings.preprocess == "fast" else keep_size
    pixels = decode_pixels(image, settings.max_image_pixels, choose_reduction)
    plan = plan_views(*pixels.geometry.size, settings.views)
    offset = 0
    for view in cut_rgb_views(pixels, plan):
        offset += os.pwrite(shared_file, view.tobytes(), offset)
    return plan.weights
