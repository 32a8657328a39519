"""Golden vectors: a model's known vectors of the probe inputs, stored beside it. Imports no torch."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder
from sidecar.errors import ModelError
from sidecar.model.checkpoints.local_directory import find_local_directory
from sidecar.model.probes import SELF_TEST_TEXTS, draw_probe_views

GOLDEN_NAME = "golden.npz"


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """`text_vectors` and `view_vectors` are (n, dimensions) float32; the views are the probes drawn at `view_size`."""

    texts: tuple[str, ...]
    text_vectors: NDArray[np.float32]
    view_size: int
    view_vectors: NDArray[np.float32]


def find_golden(model_id: str, export_dir: Path | None) -> Path | None:
    """The file of golden vectors in the export, else in a model's local folder; None if there is no such file."""
    directory = export_dir or find_local_directory(model_id)
    path = None if directory is None else directory / GOLDEN_NAME
    return path if path is not None and path.is_file() else None


def write_golden(encoder: Encoder, path: Path) -> None:
    """Stores the vectors that `encoder` computes for the probes. To be run in fp32, on a trusted machine."""
    prepared = encoder.prepare_texts(SELF_TEST_TEXTS)
    np.savez(
        path,
        texts=np.array(SELF_TEST_TEXTS),
        text_vectors=encoder.encode_texts(prepared),
        view_size=np.array(encoder.view_size),
        view_vectors=encoder.encode_views(draw_probe_views(encoder.view_size)),
    )


def read_golden(path: Path) -> GoldenVectors:
    """Reads what `write_golden` wrote. Raises ModelError if the file cannot be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return GoldenVectors(
                texts=tuple(str(text) for text in arrays["texts"]),
                text_vectors=np.asarray(arrays["text_vectors"], dtype=np.float32),
                view_size=int(arrays["view_size"]),
                view_vectors=np.asarray(arrays["view_vectors"], dtype=np.float32),
            )
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"the golden vectors in {path} cannot be read: {error}") from error
