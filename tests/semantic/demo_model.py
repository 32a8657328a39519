"""The demo's model, called directly, without service, batcher and decoder processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sidecar.config import Settings
from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder_on
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.precision import Precision
from sidecar.pictures.decode import decode_pixels, keep_size
from sidecar.pictures.views.cutting import cut_rgb_views
from sidecar.pictures.views.plan import find_reduction, plan_views
from sidecar.pictures.views.settings import ViewSettings

Vectors: TypeAlias = NDArray[np.float32]
Item = TypeVar("Item")

_BATCH = 64
_MAX_PIXELS = 10**8
DEMO = Settings(vision_model_id="demo", require_cuda=False)


def load_demo_encoder(precision: Precision = "fp32") -> OpenClipEncoder:
    """Loads the demo's model on the CPU."""
    return load_encoder_on(ComputeDevice(torch.device("cpu"), precision), DEMO)


@dataclass(frozen=True, slots=True)
class DemoModel:
    """Texts and picture files → (n, 1152) float32, unit length."""

    encoder: OpenClipEncoder

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        prepared = self.encoder.prepare_texts(texts)
        return np.concatenate([self.encoder.encode_texts(part) for part in _in_batches(prepared)])

    def embed_pictures(self, pictures: Iterable[bytes], *, enable_tta: bool, fast: bool = False) -> Vectors:
        """The mean of several views of each picture with `enable_tta`, else the whole picture as one view.

        `fast`: as with PREPROCESS=fast, else as with PREPROCESS=exact.
        """
        settings = ViewSettings.from_settings(
            DEMO.model_copy(update={"enable_tta": enable_tta}), self.encoder.view_size
        )
        choose_reduction = partial(find_reduction, settings=settings) if fast else keep_size
        views: list[NDArray[np.uint8]] = []
        weights: list[tuple[float, ...]] = []
        for file in pictures:
            pixels = decode_pixels(file, _MAX_PIXELS, choose_reduction)
            plan = plan_views(*pixels.geometry.size, settings)
            views += [np.asarray(view) for view in cut_rgb_views(pixels, plan)]
            weights.append(plan.weights)
        vectors = np.concatenate([self.encoder.encode_views(np.stack(part)) for part in _in_batches(views)])
        ends = np.cumsum([len(own) for own in weights])
        parts = np.split(vectors, ends[:-1])
        return normalise(np.stack([np.asarray(own) @ part for own, part in zip(weights, parts, strict=True)]))


def normalise(vectors: NDArray[np.float32]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _in_batches(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
