"""A sidecar process for tests: `python -m tests.integration.server.program ENCODER`, settings from the environment.

ENCODER names what stands in for the model. The same names serve bare uvicorn: `uvicorn --factory …program:make_app`
reads SIDECAR_TEST_ENCODER.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette

from sidecar.app import create_app, load_siglip
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.config import Settings, load_settings
from sidecar.errors import ConfigurationError, ModelError
from sidecar.server import serve
from tests.encoders import HashEncoder, TimedEncoder
from tests.integration.word_encoder import WordEncoder


class FragileEncoder(HashEncoder):
    """The text `break` breaks the device thread; `hang` never comes back from the device."""

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        self._marks = {self.vector_of(text).tobytes(): text for text in ("break", "hang")}
        return super().prepare_texts(texts)

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        vectors = super()._encode(contents)
        marks = {self._marks.get(vector.tobytes()) for vector in vectors}
        if "break" in marks:
            raise KeyError("a bug in the encoder")
        if "hang" in marks:
            sys.stderr.write("hanging\n")
            threading.Event().wait()
        return vectors


def _never_load(_settings: Settings) -> NoReturn:
    sys.stderr.write("loading\n")
    threading.Event().wait()
    raise AssertionError


def _fail_to_load(_settings: Settings) -> NoReturn:
    raise ModelError("/nowhere/model.safetensors cannot be read: is it cut off?")


def _refuse_the_machine(_settings: Settings) -> NoReturn:
    raise ConfigurationError(["REQUIRE_CUDA='1': there is no GPU", "CUDA_DEVICE='cuda:7': there is no such GPU"])


def load(name: str, settings: Settings) -> Encoder:
    if name == "hash":
        return HashEncoder()
    if name == "words":
        return WordEncoder()
    if name == "slow":
        return TimedEncoder(view_ms=1000)
    if name == "fragile":
        return FragileEncoder()
    if name == "never":
        _never_load(settings)
    if name == "unreadable":
        _fail_to_load(settings)
    if name == "refused":
        _refuse_the_machine(settings)
    return load_siglip(settings)


def make_app() -> Starlette:
    name = os.environ["SIDECAR_TEST_ENCODER"]
    return create_app(load_encoder=lambda settings: load(name, settings))


if __name__ == "__main__":
    name = sys.argv[1]
    sys.exit(serve(load_settings(), load_encoder=lambda settings: load(name, settings)))
