"""A sidecar process for tests: `python -m tests.integration.server.program ENCODER`, settings from the environment.

ENCODER names what stands in for the model. The same names serve bare uvicorn: `uvicorn --factory …program:make_app`
reads SIDECAR_TEST_ENCODER.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette

from sidecar.app import LoadEncoder, create_app, load_embedding_model
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.config import Settings, load_settings
from sidecar.errors import ConfigurationError, DeviceError, DeviceLost, ModelError
from sidecar.process_exit import exit_despite_threads
from sidecar.server import serve
from tests.encoders import HashEncoder, TimedEncoder
from tests.integration.word_encoder import WordEncoder


class FragileEncoder(HashEncoder):
    """An encoder that fails on certain texts, as a device or a tokenizer would.

    `break` raises a bug; `hang` blocks the device's thread; `fail` makes this and all later calls fail; `lose` loses
    the device like CUDA's device-side assert. A text that begins with `endless` blocks the tokenizer.
    """

    failing = False

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        if texts[0].startswith("endless"):
            sys.stderr.write("tokenizing\n")
            until_s = time.monotonic() + 60
            while time.monotonic() < until_s:  # as pure Python does, on the loop or in a thread
                time.sleep(0.001)
        self._marks = {self.vector_of(text).tobytes(): text for text in ("break", "hang", "fail", "lose")}
        return super().prepare_texts(texts)

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        vectors = super()._encode(contents)
        marks = {self._marks.get(vector.tobytes()) for vector in vectors}
        if "break" in marks:
            raise KeyError("a bug in the encoder")
        if "hang" in marks:
            sys.stderr.write("hanging\n")
            atexit.register(threading.Event().wait)  # as the driver's own handler would
            threading.Event().wait()
        if "lose" in marks:
            raise DeviceLost("CUDA error: device-side assert triggered")
        self.failing = self.failing or "fail" in marks
        if self.failing:
            raise DeviceError("the device is gone")
        return vectors


class HangingEncoder(HashEncoder):
    """An encoder that hangs in its self-test."""

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        threading.Event().wait()
        return super().encode_texts(texts)


class LostEncoder(HashEncoder):
    """An encoder that loses its device in its self-test."""

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        raise DeviceLost(f"CUDA error: device-side assert triggered by {len(texts)} texts")


class MortalEncoder(HashEncoder):
    """An encoder on a device that is lost after `lives` more calls, of which the self-test takes four."""

    def __init__(self, device_id: str, lives: float = float("inf")) -> None:
        super().__init__()
        self.device_id = device_id
        self._lives = lives

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        self._lives -= 1
        if self._lives < 0:
            raise DeviceLost("CUDA error: device-side assert triggered")
        time.sleep(0.005)  # so that the other device takes part
        return super()._encode(contents)


def _never_load(_settings: Settings) -> NoReturn:
    sys.stderr.write("loading\n")
    threading.Event().wait()
    raise AssertionError


def _fail_to_load(_settings: Settings) -> NoReturn:
    raise ModelError("/nowhere/model.safetensors cannot be read: is it cut off?")


def _refuse_the_machine(_settings: Settings) -> NoReturn:
    raise ConfigurationError(
        ["REQUIRE_CUDA='1': there is no GPU\nHINT: Set it to 0.", "CUDA_DEVICE='cuda:7': there is no such GPU"]
    )


_LOADERS: Mapping[str, LoadEncoder] = {
    "hash": lambda _settings: HashEncoder(),
    "words": lambda _settings: WordEncoder(),
    "slow": lambda _settings: TimedEncoder(view_ms=1000),
    "brisk": lambda _settings: TimedEncoder(view_ms=400),
    "fragile": lambda _settings: FragileEncoder(),
    "hanging": lambda _settings: HangingEncoder(),
    "lost": lambda _settings: LostEncoder(),
    "two": lambda _settings: [MortalEncoder("cuda:0"), MortalEncoder("cuda:1", lives=6)],
    "one-and-a-dead": lambda _settings: [MortalEncoder("cuda:0", lives=1), MortalEncoder("cuda:1")],
    "two-mortals": lambda _settings: [MortalEncoder("cuda:0", lives=5), MortalEncoder("cuda:1", lives=6)],
    "never": _never_load,
    "unreadable": _fail_to_load,
    "refused": _refuse_the_machine,
}


def load(name: str, settings: Settings) -> Encoder | Sequence[Encoder]:
    return _LOADERS.get(name, load_embedding_model)(settings)


def make_app() -> Starlette:
    name = os.environ["SIDECAR_TEST_ENCODER"]
    return create_app(load_encoder=lambda settings: load(name, settings))


if __name__ == "__main__":
    name = sys.argv[1]
    exit_despite_threads(serve(load_settings(), load_encoder=lambda settings: load(name, settings)))
