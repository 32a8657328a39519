"""From a JPEG to its views: the sidecar's two ways, and open_clip's transform applied to each view."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figure import Figure, of_rounds, ratio_of
from sidecar.config import Settings
from sidecar.pictures.decode import decode_pixels, keep_size
from sidecar.pictures.decoder.process import open_shared_file
from sidecar.pictures.views.cutting import cut_rgb_views
from sidecar.pictures.views.plan import PlannedView, find_reduction, plan_views
from sidecar.pictures.views.settings import ViewSettings

VIEW_SIZE = 384
GPU_VIEWS_PER_S = 640
SIZES = {"12 MP": (4032, 3024), "1.2 MP": (1280, 960)}
_MAX_PIXELS = 10**8

ViewArray = NDArray[np.uint8]


def measure_decoding(rounds: int) -> list[Figure]:
    """In CPU seconds of one core, which other processes hardly affect; the ways take turns."""
    settings = Settings(vision_model_id="demo", require_cuda=False)
    figures = []
    for name, size in SIZES.items():
        image = camera_jpeg("china.jpg", *size)
        tta = ViewSettings.from_settings(settings, VIEW_SIZE)
        one = ViewSettings.from_settings(settings.model_copy(update={"enable_tta": False}), VIEW_SIZE)
        figures += _compare(name, image, tta, one, rounds)
    return [*figures, *_nearness(settings)]


def _compare(name: str, image: bytes, tta: ViewSettings, one: ViewSettings, rounds: int) -> list[Figure]:
    """The time for all views of one picture, and the CPUs that feed a GPU with them."""
    shared_file = open_shared_file()
    ways: dict[str, Callable[[], object]] = {
        "open_clip": partial(_open_clip, image, tta, _transform()),
        "exact": partial(_decode, image, tta, shared_file.fileno(), fast=False),
        "fast": partial(_decode, image, tta, shared_file.fileno(), fast=True),
        "fast, one view": partial(_decode, image, one, shared_file.fileno(), fast=True),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    with _one_torch_thread():
        for round_ in range(rounds + 1):
            for way, run in ways.items():
                began = time.process_time()
                run()
                if round_ > 0:  # the first one warms up
                    times[way].append(1000 * (time.process_time() - began))
    shared_file.close()
    views = len(_plan(image, tta))
    baseline = times["open_clip"]
    megabytes = len(image) / 1e6
    what = f"{name} JPEG to {views} views"
    target = ">= 2.5" if name == "12 MP" else None
    return [
        of_rounds(f"{what} ({megabytes:.1f} MB), open_clip's transform per view", baseline, "ms", is_baseline=True),
        of_rounds(f"{what}, PREPROCESS=exact", times["exact"], "ms"),
        of_rounds(f"{what}, PREPROCESS=fast", times["fast"], "ms"),
        ratio_of(f"{what}, open_clip per view / exact", baseline, times["exact"]),
        ratio_of(f"{what}, open_clip per view / fast", baseline, times["fast"], target),
        *_rates(f"{what}, fast", times["fast"], views),
        *_rates(f"{name} JPEG to one view, fast", times["fast, one view"], 1),
    ]


def _rates(what: str, times: Sequence[float], views: int) -> list[Figure]:
    """Pictures a second of one core, and the cores that a GPU needs."""
    return [
        of_rounds(f"{what}, one core", [1000 / ms for ms in times], "pictures/s"),
        of_rounds(
            f"{what}, cores for {GPU_VIEWS_PER_S} views/s",
            [GPU_VIEWS_PER_S / views * ms / 1000 for ms in times],
            "cores",
        ),
    ]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """As in the worker processes of a data loader. Several wait for each other in a loop, which would count as work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def camera_jpeg(name: str, width: int, height: int) -> bytes:
    """A photograph of scikit-learn's, enlarged to the size and with the noise of a camera, which fills its file."""
    random = np.random.default_rng(0)
    with Image.open(io.BytesIO(files("sklearn.datasets.images").joinpath(name).read_bytes())) as photo:
        large = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = large + random.normal(0, 8, large.shape).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _plan(image: bytes, settings: ViewSettings) -> Sequence[PlannedView]:
    with Image.open(io.BytesIO(image)) as picture:
        return plan_views(picture.width, picture.height, settings).views


def _decode(image: bytes, settings: ViewSettings, shared_file: int, *, fast: bool) -> None:
    """What a decoder process does with one picture."""
    offset = 0
    for view in _cut(image, settings, fast=fast):
        offset += os.pwrite(shared_file, view.tobytes(), offset)


def _cut(image: bytes, settings: ViewSettings, *, fast: bool) -> Iterator[Image.Image]:
    pixels = decode_pixels(image, _MAX_PIXELS, partial(find_reduction, settings=settings) if fast else keep_size)
    return cut_rgb_views(pixels, plan_views(*pixels.geometry.size, settings))


def _transform() -> Callable[[Image.Image], Any]:
    """open_clip's own, for the default model."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    half = (0.5, 0.5, 0.5)
    config = PreprocessCfg(size=VIEW_SIZE, mean=half, std=half, interpolation="bicubic", resize_mode="squash")
    transform: Callable[[Image.Image], Any] = image_transform_v2(config, is_train=False)
    return transform


def _open_clip(image: bytes, settings: ViewSettings, transform: Callable[[Image.Image], Any]) -> list[Any]:
    """The same views: the picture is decoded once, and each view cut from it and given to the transform."""
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        return [transform(picture.crop(_source(view))) for view in _plan(image, settings)]


def _source(view: PlannedView) -> tuple[int, int, int, int]:
    """The pixels of the picture that become the view."""
    across, down = view.tile.size.width / view.scaled.width, view.tile.size.height / view.scaled.height
    left, top = view.tile.left + view.crop.left * across, view.tile.top + view.crop.top * down
    right, bottom = view.tile.left + view.crop.right * across, view.tile.top + view.crop.bottom * down
    return round(left), round(top), round(right), round(bottom)


def _nearness(settings: Settings) -> list[Figure]:
    """The least cosine between fast and exact vectors of the demo's model, which reads 112 pixels."""
    from sidecar.app import load_embedding_model

    encoder = load_embedding_model(settings)[0]
    tta = ViewSettings.from_settings(settings, encoder.view_size)
    cosines = []
    for name in ("china.jpg", "flower.jpg"):
        for size in ((960, 640), (1440, 960), (2400, 1600), (4032, 3024)):
            image = camera_jpeg(name, *size)
            vectors = []
            for fast in (False, True):
                views = np.stack([np.asarray(view) for view in _cut(image, tta, fast=fast)])
                mean = encoder.encode_views(views).mean(axis=0)
                vectors.append(mean / np.linalg.norm(mean))
            cosines.append(float(vectors[0] @ vectors[1]))
    worst = 1e6 * (1 - min(cosines))
    name = "1 - cosine of fast and exact, the most of 8 photographs, demo's model"
    return [Figure(name, worst, "millionths", "<= 1,000")]
