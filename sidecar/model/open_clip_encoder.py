"""Encodes token ids and pixels to unit vectors with an open_clip model on its device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.model.acceleration.tower import Inputs, Tower
from sidecar.model.device import ComputeDevice, read_device_memory
from sidecar.model.device_faults import DEVICE_FAULTS, translate_fault
from sidecar.model.identity import IdentifiedEncoder, ModelIdentity
from sidecar.model.precision import Precision
from sidecar.model.preprocessing import Preprocessing
from sidecar.model.probes import SELF_TEST_TEXTS, draw_probe_views
from sidecar.model.text.tokenizer import TextTokenizer

Accelerate: TypeAlias = Callable[[Tower, torch.Tensor, Inputs], Tower]
"""Makes a faster tower of one, given a batch of examples on the device, which are two rows or more."""


class Towers(Protocol):
    """The part of an open_clip model in use. Both return (n, dimensions) in the model's precision, not normalised."""

    def encode_image(self, image: torch.Tensor) -> torch.Tensor: ...

    def encode_text(self, text: torch.Tensor) -> torch.Tensor: ...


class OpenClipEncoder(IdentifiedEncoder):
    """Satisfies `sidecar.batching.encoder.Encoder`. One thread at a time may call `encode_*`."""

    def __init__(
        self,
        towers: Towers,
        tokenizer: TextTokenizer,
        preprocessing: Preprocessing,
        identity: ModelIdentity,
        compute: ComputeDevice,
    ) -> None:
        super().__init__(identity)
        self._towers = towers
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._compute = compute
        # Scaled, as pixels are 0 … 255 here: it saves one multiplication per pixel.
        self._mean = 255.0 * torch.tensor(preprocessing.mean, device=compute.device).view(1, 3, 1, 1)
        self._std = 255.0 * torch.tensor(preprocessing.std, device=compute.device).view(1, 3, 1, 1)
        self._text_tower: Tower = self._compute_text_vectors
        self._view_tower: Tower = self._compute_view_vectors

    def copy_to(self, compute: ComputeDevice) -> OpenClipEncoder:
        """The same model on another device, in the same precision. To be made before `accelerate`.

        Weights go from device to device, and never a second time through this machine's memory.
        """
        memo: dict[int, object] = {}
        if isinstance(self._towers, torch.nn.Module):
            for parameter in self._towers.parameters():
                moved = torch.nn.Parameter(_move(parameter.data, compute), requires_grad=parameter.requires_grad)
                memo[id(parameter)] = moved
            memo |= {id(buffer): _move(buffer, compute) for buffer in self._towers.buffers()}
        towers = copy.deepcopy(self._towers, memo)
        if isinstance(towers, torch.nn.Module):
            towers = towers.to(compute.device)  # what is neither a parameter nor a buffer
        return OpenClipEncoder(towers, self._tokenizer, self._preprocessing, self._identity, compute)

    def accelerate(self, accelerate: Accelerate) -> None:
        """Replaces both towers by faster forms of them. Blocks for seconds, or minutes. Raises DeviceLost."""
        token_ids = np.stack([text.token_ids for text in self._tokenizer.prepare(SELF_TEST_TEXTS)])
        views = draw_probe_views(self.view_size)
        with self._compute.current(), torch.inference_mode():
            self._text_tower = accelerate(self._text_tower, self._to_device(token_ids), "texts")
            self._view_tower = accelerate(self._view_tower, self._to_device(views), "pictures")

    @property
    def precision(self) -> Precision:
        """The number format in use; it may differ from the setting if the device does not support that."""
        return self._compute.precision

    @property
    def device_name(self) -> str:
        return self._compute.name

    @property
    def device_id(self) -> str:
        return self._compute.id

    def device_memory(self) -> Mapping[str, int]:
        """Memory in bytes by state; empty if the device does not report it. Thread-safe."""
        return read_device_memory(self._compute.device)

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        """One per text, in order. Thread-safe."""
        return self._tokenizer.prepare(texts)

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        """(n, dimensions) float32, of unit length unless not finite or zero.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        if not texts:
            return self._no_vectors()
        token_ids = np.stack([text.token_ids for text in texts])
        return self._run(self._text_tower, token_ids)

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`views` is (n, view_size, view_size, 3) uint8 RGB; returns (n, dimensions) float32, as `encode_texts` does.

        Raises DeviceError, DeviceOutOfMemory, DeviceLost.
        """
        if not len(views):
            return self._no_vectors()
        return self._run(self._view_tower, views)

    def _compute_text_vectors(self, token_ids: torch.Tensor) -> torch.Tensor:
        return _to_unit_length(self._towers.encode_text(token_ids))

    def _compute_view_vectors(self, views: torch.Tensor) -> torch.Tensor:
        return _to_unit_length(self._towers.encode_image(self._normalise(views)))

    def _normalise(self, views: torch.Tensor) -> torch.Tensor:
        """(n, s, s, 3) uint8 → (n, 3, s, s) in the model's precision and its format in memory."""
        pixels = views.permute(0, 3, 1, 2).to(torch.float32)
        normalised = ((pixels - self._mean) / self._std).to(self._compute.dtype)
        return normalised.contiguous(memory_format=self._compute.memory_format)

    def _to_device(self, array: NDArray[np.generic]) -> torch.Tensor:
        # Pixels from shared memory or a file may be read-only, about which torch warns.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if self._compute.device.type == "cuda":
            # PyTorch caches pinned blocks and reuses one once the copy from it has ended: after the first micro-batches
            # nothing is allocated here, and dropping the block at once is safe.
            return tensor.pin_memory().to(self._compute.device, non_blocking=True)
        return tensor.to(self._compute.device)

    def _run(self, tower: Tower, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Raises DeviceError, DeviceOutOfMemory, DeviceLost."""
        try:
            with self._compute.current(), torch.inference_mode():
                vectors: NDArray[np.float32] = tower(self._to_device(inputs)).cpu().numpy()
        except DEVICE_FAULTS as error:
            raise translate_fault(error) from error
        return vectors

    def _no_vectors(self) -> NDArray[np.float32]:
        return np.empty((0, self.dimensions), dtype=np.float32)


def _move(tensor: torch.Tensor, compute: ComputeDevice) -> torch.Tensor:
    """A copy on the device, also if the tensor is there already. Keeps the layout in memory."""
    return tensor.detach().to(compute.device, copy=True)


def _to_unit_length(features: torch.Tensor) -> torch.Tensor:
    """In fp32: with the 8 bits of bf16 the lengths would be off by 0.5 %."""
    return torch.nn.functional.normalize(features.to(torch.float32), dim=-1)
