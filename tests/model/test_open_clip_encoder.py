from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import TextInputs, ViewInputs
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory
from sidecar.model.device import ComputeDevice
from sidecar.model.device_faults import translate_fault
from sidecar.model.identity import ModelIdentity
from sidecar.model.open_clip_encoder import OpenClipEncoder, Towers
from sidecar.model.precision import MIN_COSINE, Precision
from sidecar.model.preprocessing import Preprocessing
from tests.model.variants import load_on_cpu
from tests.unit.pictures.pictures import make_picture

TEXTS = ["a cat", "two dogs on a beach", "red shoes", "a long caption about a river in a valley " * 5]
VIEWS = np.stack([np.asarray(make_picture(160, 160, seed)) for seed in range(8)])


class FailingTowers:
    """A model that fails while computing."""

    def __init__(self, fail: Callable[[], torch.Tensor]) -> None:
        self._fail = fail

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        return self._fail()

    def encode_text(self, text: torch.Tensor) -> torch.Tensor:
        return self._fail()


def failing_encoder(tiny_encoder: OpenClipEncoder, fail: Callable[[], torch.Tensor]) -> OpenClipEncoder:
    return OpenClipEncoder(
        FailingTowers(fail),
        tiny_encoder._tokenizer,
        Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ModelIdentity("failing", "failing-0", 1152, 160),
        ComputeDevice(torch.device("cpu"), "fp32"),
    )


def test_it_satisfies_the_encoder_protocol(tiny_encoder: OpenClipEncoder) -> None:
    encoder: Encoder = tiny_encoder
    assert (encoder.dimensions, encoder.view_size) == (1152, 160)
    assert encoder.model_id.startswith("local-dir:")


def test_vectors_are_float32_of_unit_length(tiny_encoder: OpenClipEncoder) -> None:
    texts = tiny_encoder.encode_texts(tiny_encoder.prepare_texts(TEXTS))
    views = tiny_encoder.encode_views(VIEWS)
    for vectors, count in ((texts, len(TEXTS)), (views, len(VIEWS))):
        assert (vectors.shape, vectors.dtype) == ((count, 1152), np.dtype(np.float32))
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


def test_a_vector_does_not_depend_on_its_batch(tiny_encoder: OpenClipEncoder) -> None:
    prepared = tiny_encoder.prepare_texts(TEXTS)
    texts, views = tiny_encoder.encode_texts(prepared), tiny_encoder.encode_views(VIEWS)
    for size in (1, 2, 3):
        alone = np.concatenate([tiny_encoder.encode_views(VIEWS[at : at + size]) for at in range(0, len(VIEWS), size)])
        assert np.abs(alone - views).max() < 1e-6
        some = np.concatenate([tiny_encoder.encode_texts(prepared[at : at + size]) for at in range(0, 4, size)])
        assert np.abs(some - texts).max() < 1e-6


def test_bf16_gives_the_vectors_of_fp32_up_to_rounding(
    tiny_model: Path, tiny_encoder: OpenClipEncoder, record_property: Callable[[str, object], None]
) -> None:
    bf16 = load_on_cpu(tiny_model, "bf16")
    assert bf16.precision == "bf16"
    prepared = tiny_encoder.prepare_texts(TEXTS)
    for what, exact, rounded in (
        ("texts", tiny_encoder.encode_texts(prepared), bf16.encode_texts(prepared)),
        ("views", tiny_encoder.encode_views(VIEWS), bf16.encode_views(VIEWS)),
    ):
        cosine = float(np.sum(exact * rounded, axis=1).min())
        record_property(f"least cosine of bf16 and fp32 {what}", cosine)
        assert MIN_COSINE["bf16"] <= cosine < 1 - 1e-6
        assert np.abs(np.linalg.norm(rounded, axis=1) - 1).max() < 1e-6


def test_pixels_may_be_read_only_and_in_any_layout(tiny_encoder: OpenClipEncoder) -> None:
    expected = tiny_encoder.encode_views(VIEWS)
    frozen = VIEWS.copy()
    frozen.flags.writeable = False
    assert np.array_equal(tiny_encoder.encode_views(frozen), expected)
    assert np.abs(tiny_encoder.encode_views(VIEWS[::-1]) - expected[::-1]).max() < 1e-6


def test_no_inputs_give_no_vectors(tiny_encoder: OpenClipEncoder) -> None:
    assert tiny_encoder.encode_texts([]).shape == (0, 1152)
    assert tiny_encoder.encode_views(VIEWS[:0]).shape == (0, 1152)


def allocate_too_much() -> torch.Tensor:
    return torch.empty(2**55)


def report_out_of_gpu_memory() -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize("fail", [allocate_too_much, report_out_of_gpu_memory])
def test_a_batch_too_large_for_the_device_is_distinguished(
    tiny_encoder: OpenClipEncoder, fail: Callable[[], torch.Tensor]
) -> None:
    encoder = failing_encoder(tiny_encoder, fail)
    with pytest.raises(DeviceOutOfMemory):
        encoder.encode_views(VIEWS)
    with pytest.raises(DeviceOutOfMemory):
        encoder.encode_texts(tiny_encoder.prepare_texts(TEXTS))


def test_after_out_of_memory_the_error_does_not_hold_the_batchs_tensors(tiny_encoder: OpenClipEncoder) -> None:
    activations: list[weakref.ref[torch.Tensor]] = []

    def fill_memory() -> torch.Tensor:
        activation = torch.ones(1000)
        activations.append(weakref.ref(activation))
        return report_out_of_gpu_memory()

    with pytest.raises(DeviceOutOfMemory) as caught:
        failing_encoder(tiny_encoder, fill_memory).encode_views(VIEWS)
    assert caught.value.__cause__ is not None
    assert activations[0]() is None


def report_a_fault() -> torch.Tensor:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore about it")


def report_a_wrong_shape() -> torch.Tensor:
    raise AssertionError("Input height (160) doesn't match model (224).")


@pytest.mark.parametrize("fail", [report_a_fault, report_a_wrong_shape])
def test_a_fault_of_the_device_is_a_device_error(
    tiny_encoder: OpenClipEncoder, fail: Callable[[], torch.Tensor]
) -> None:
    with pytest.raises(DeviceError) as caught:
        failing_encoder(tiny_encoder, fail).encode_views(VIEWS)
    assert not isinstance(caught.value, DeviceOutOfMemory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 0.0, 1e38])
def test_an_input_without_a_finite_vector_does_not_affect_others(tiny_encoder: OpenClipEncoder, bad: float) -> None:
    expected = tiny_encoder.encode_views(VIEWS[:3])

    class Spoiling:
        def encode_image(self, image: torch.Tensor) -> torch.Tensor:
            vectors = tiny_encoder._towers.encode_image(image).clone()
            vectors[1] = bad
            return vectors

    encoder = OpenClipEncoder(
        Spoiling(),  # type: ignore[arg-type]  # texts are not asked for
        tiny_encoder._tokenizer,
        Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        tiny_encoder._identity,
        tiny_encoder._compute,
    )
    vectors = encoder.encode_views(VIEWS[:3])
    assert ViewInputs(VIEWS[:3]).invalid_rows(vectors).tolist() == [False, True, False]
    assert np.abs(vectors[[0, 2]] - expected[[0, 2]]).max() < 1e-6


def test_numbers_too_large_for_fp16_affect_only_their_own_text(tiny_encoder: OpenClipEncoder) -> None:
    """Its maximum is 65504: a word with larger weights has a vector in fp32 only."""
    towers = copy.deepcopy(tiny_encoder._towers)
    assert isinstance(towers, torch.nn.Module)
    prepared = tiny_encoder.prepare_texts(["a photo of a cat", "猫 hot", "a dog"])
    only_here = next(
        token for token in prepared[1].token_ids.tolist() if all(token not in prepared[i].token_ids for i in (0, 2))
    )
    with torch.no_grad():
        towers.get_parameter("text.token_embedding.weight")[only_here, ::2] = 100_000
    for precision, without in (("fp32", False), ("fp16", True)):
        encoder = OpenClipEncoder(
            cast("Towers", towers if precision == "fp32" else towers.half()),
            tiny_encoder._tokenizer,
            Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            tiny_encoder._identity,
            ComputeDevice(torch.device("cpu"), cast("Precision", precision)),
        )
        vectors = encoder.encode_texts(prepared)
        assert TextInputs(prepared).invalid_rows(vectors).tolist() == [False, without, False]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: device-side assert triggered\nCUDA kernel errors might be …", DeviceLost),
        ("CUDA error: an illegal memory access was encountered", DeviceLost),
        ("CUDA error: unspecified launch failure", DeviceLost),
        ("CUDA error: uncorrectable ECC error encountered", DeviceLost),
        ("CUDA error: misaligned address", DeviceLost),
        ("HIP error: an illegal memory access was encountered", DeviceLost),
        ("CUDA error: out of memory", DeviceOutOfMemory),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", DeviceOutOfMemory),
        ("CUDA error: no kernel image is available for execution on the device", DeviceError),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`", DeviceError),
        ("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)", DeviceError),
        ("an illegal instruction of the tokenizer's", DeviceError),
    ],
)
def test_faults_that_a_process_cannot_recover_from_are_distinguished(message: str, expected: type[DeviceError]) -> None:
    fault = translate_fault(RuntimeError(message))
    assert type(fault) is expected
    assert str(fault) == message.splitlines()[0]
