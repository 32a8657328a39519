"""Known inputs that tell a device that fails from an input that does."""

from __future__ import annotations

import numpy as np

from sidecar.batching.encoder import Encoder
from sidecar.batching.micro_batch import NOT_FINITE
from sidecar.batching.work import Kind, TextWork, ViewWork, Work
from sidecar.errors import DeviceError, DeviceOutOfMemory

_TEXT = "a photo of a cat"


def probe_work(encoder: Encoder, kind: Kind) -> Work:
    """One text, or one view for pictures. Any encoder has a vector for it, as its self-test showed.

    For pairs it is the text too: a reranking model that is broken is not the device's fault.
    """
    if kind is not Kind.PICTURE:
        return TextWork(encoder.prepare_texts([_TEXT]))
    ramp = np.linspace(0, 255, encoder.view_size, dtype=np.uint8)
    return ViewWork(np.stack([np.add.outer(ramp // 2, ramp // 2)] * 3, axis=-1)[None])


def run_probe(encoder: Encoder, kind: Kind) -> None:
    """Blocks, in the device's thread. Raises DeviceError if the device does not encode even that.

    A view that does not fit into its memory is none of its faults, while a text does.
    """
    work = probe_work(encoder, kind)
    try:
        rows = work.encode(encoder, [(work, 0)])
    except DeviceOutOfMemory:
        if kind is Kind.TEXT:
            raise
        run_probe(encoder, Kind.TEXT)
        return
    if work.without_result(rows).any():
        raise DeviceError(NOT_FINITE)
