"""How batches are put into recordings, here run by the CPU. CUDA graphs themselves need a GPU: benchmarks/gpu.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory
from sidecar.model.acceleration.recording import Recording, record_tower, text_sizes, view_sizes
from sidecar.model.acceleration.tower import Inputs, Tower
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.precision import MIN_COSINE, Precision
from tests.model.variants import load_on_cpu
from tests.unit.pictures.pictures import make_picture

VIEWS = np.stack([np.asarray(make_picture(160, 160, seed)) for seed in range(9)])
TEXTS = ["a cat", "two dogs on a beach", "red shoes", "a long caption about a river in a valley " * 5, "tea"]


class HostRecording:
    """A tower in fixed memory, as a CUDA graph is."""

    def __init__(self, tower: Tower, example: torch.Tensor) -> None:
        self.inputs = example.clone()
        self.replayed = 0
        self._tower = tower
        self._outputs = tower(example)

    def replay(self) -> torch.Tensor:
        self.replayed += 1
        return self._outputs.copy_(self._tower(self.inputs))


def accelerate(encoder: OpenClipEncoder, record: Callable[[Tower, torch.Tensor], Recording], sizes: list[int]) -> None:
    def replace(tower: Tower, example: torch.Tensor, inputs: Inputs) -> Tower:
        return record_tower(tower, example, sizes, inputs, record)

    encoder.accelerate(replace)


@pytest.mark.parametrize(
    ("max_batch", "texts", "views"),
    [
        (32, [1, 2, 4, 8, 16, 32], [1, 2, 4, 8]),
        (24, [1, 2, 4, 8, 16, 24], [1, 2, 4, 8]),
        (6, [1, 2, 4, 6], [1, 2, 4, 6]),
        (1, [1], [1]),
    ],
)
def test_recorded_sizes_double_up_to_the_largest_batch_or_to_eight_pictures(
    max_batch: int, texts: list[int], views: list[int]
) -> None:
    assert (text_sizes(max_batch), view_sizes(max_batch)) == (texts, views)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 1 - 1e-6), ("bf16", MIN_COSINE["bf16"])])
def test_a_batch_runs_in_the_next_larger_recording_with_the_vectors_of_the_unrecorded_model(
    tiny_model: Path, precision: Precision, least: float
) -> None:
    plain, recorded = (load_on_cpu(tiny_model, precision) for _ in range(2))
    made: list[HostRecording] = []

    def record(tower: Tower, example: torch.Tensor) -> HostRecording:
        made.append(HostRecording(tower, example))
        return made[-1]

    accelerate(recorded, record, [1, 2, 4])
    texts, views = made[:3], made[3:]
    prepared = plain.prepare_texts(TEXTS)
    for count, size in ((3, 4), (1, 1), (2, 2), (4, 4), (5, None)):  # 3 after 4 and 1 after 3: earlier rows are there
        before = {len(each.inputs): each.replayed for each in made}
        for got, expected in (
            (recorded.encode_texts(prepared[:count]), plain.encode_texts(prepared[:count])),
            (recorded.encode_views(VIEWS[:count]), plain.encode_views(VIEWS[:count])),
        ):
            assert got.shape == (count, 1152)
            assert np.sum(got * expected, axis=1).min() >= least
        for kind in (texts, views):
            assert {len(each.inputs) for each in kind if each.replayed > before[len(each.inputs)]} == {size} - {None}


def test_vectors_stay_when_the_next_batch_is_replayed(tiny_model: Path) -> None:
    encoder = load_on_cpu(tiny_model)
    accelerate(encoder, HostRecording, [2])
    first = encoder.encode_views(VIEWS[:2])
    kept = first.copy()
    encoder.encode_views(VIEWS[2:4])
    assert np.array_equal(first, kept)


def test_a_size_that_cannot_be_recorded_runs_as_before_and_the_log_says_why(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load_on_cpu(tiny_model)
    expected = encoder.encode_views(VIEWS[:4])

    def record(tower: Tower, example: torch.Tensor) -> HostRecording:
        if len(example) == 4:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        return HostRecording(tower, example)

    with caplog.at_level(logging.INFO, "sidecar"):
        accelerate(encoder, record, [1, 2, 4])
    assert np.abs(encoder.encode_views(VIEWS[:4]) - expected).max() < 1e-6
    assert (
        "DEVICE_GRAPHS=auto: 4 pictures run without a CUDA graph: "
        "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    ) in caplog.messages
    assert any(message.startswith("Recorded CUDA graphs for 1, 2 pictures in ") for message in caplog.messages)


def test_a_device_lost_while_recording_is_not_passed_over(tiny_model: Path) -> None:
    def lose(_tower: Tower, _example: torch.Tensor) -> HostRecording:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(DeviceLost):
        accelerate(load_on_cpu(tiny_model), lose, [1])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: an illegal memory access was encountered", DeviceLost),
        ("CUDA out of memory. Tried to allocate 20.00 GiB.", DeviceOutOfMemory),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", DeviceError),
    ],
)
def test_faults_of_a_recording_are_told_apart_as_those_of_the_model_are(
    tiny_model: Path, message: str, expected: type[DeviceError]
) -> None:
    class Failing(HostRecording):
        def replay(self) -> torch.Tensor:
            raise RuntimeError(message)

    encoder = load_on_cpu(tiny_model)
    accelerate(encoder, Failing, [1])
    with pytest.raises(DeviceError) as caught:
        encoder.encode_views(VIEWS[:1])
    assert type(caught.value) is expected
    assert encoder.encode_views(VIEWS[:2]).shape == (2, 1152)  # not recorded
