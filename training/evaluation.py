"""Evaluates a model through the product's pipeline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sidecar.config import Settings
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX
from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder_on
from training.dataset import Dataset
from training.demo_data import encode_picture
from training.holdout import draw_holdout
from training.pipeline import Vectors, embed_pictures, embed_texts, open_pipeline
from training.queries import Query, keyword_queries, name_queries, recall, share_found
from training.scenes import SceneRenderer

_SEED = 17
_SMALL_SCENES = 400
_PANORAMAS = 200
_LONG_PANORAMAS = 60
_VIEWS: Mapping[str, Mapping[str, object]] = {
    "TTA on": {},
    "TTA off": {"enable_tta": False},
    "TTA on, anchor weight 0.5": {"tta_anchor_weight": 0.5},
}
_PRECISION_SAMPLE = 512


@dataclass(frozen=True, slots=True)
class Figure:
    """The `value` of the measure `name`, over `count` queries or pairs."""

    name: str
    value: float
    count: int


@dataclass(frozen=True, slots=True)
class _Scenes:
    """Pictures of one kind, and the emoji on each."""

    kind: str
    pictures: list[bytes]
    shown: list[list[int]]


def evaluate(model: Path, dataset: Dataset) -> list[Figure]:
    """All figures of the model card. Takes minutes on two cores."""
    figures = []
    for views in _VIEWS:
        figures += asyncio.run(_evaluate_pipeline(model, dataset, views))
    return figures + _compare_precisions(model, dataset)


def save_figures(figures: Sequence[Figure], path: Path) -> None:
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")


def load_figures(path: Path) -> list[Figure]:
    """The inverse of `save_figures`."""
    return [Figure(**figure) for figure in json.loads(path.read_text(encoding="utf-8"))]


async def _evaluate_pipeline(model: Path, dataset: Dataset, suffix: str) -> list[Figure]:
    """The figures with one of the `_VIEWS`, named by `suffix`."""
    figures = []
    async with open_pipeline(model, _VIEWS[suffix]) as embedder:
        clean = await embed_pictures(embedder, [encode_picture(picture) for picture in dataset.pictures])
        for kind, groups, cutoffs in (
            ("names", name_queries(dataset.emoji, draw_holdout(dataset.emoji)), (1, 5, 10)),
            ("keywords", keyword_queries(dataset.emoji, draw_holdout(dataset.emoji)), (10,)),
        ):
            vectors = await embed_texts(embedder, [query.text for group in groups.values() for query in group])
            figures += _score_groups(kind, groups, _rank(vectors, clean), cutoffs, suffix)
        for scenes in _draw_scenes(dataset):
            vectors = await embed_pictures(embedder, scenes.pictures)
            queries = [
                Query(dataset.emoji[index].name, frozenset({number}))
                for number, shown in enumerate(scenes.shown)
                for index in shown
            ]
            ranking = _rank(await embed_texts(embedder, [query.text for query in queries]), vectors)
            figures += [
                Figure(f"{scenes.kind}: recall@{first}, {suffix}", recall(queries, ranking, first), len(queries))
                for first in (1, 5)
            ]
    return figures


def _score_groups(
    kind: str,
    groups: Mapping[str, Sequence[Query]],
    ranking: NDArray[np.int64],
    cutoffs: Sequence[int],
    suffix: str,
) -> list[Figure]:
    figures, start = [], 0
    for name, queries in groups.items():
        rows = ranking[start : start + len(queries)]
        start += len(queries)
        what = f"clean pictures, {kind}, {name}"
        figures += [
            Figure(f"{what}: recall@{first}, {suffix}", recall(queries, rows, first), len(queries)) for first in cutoffs
        ]
        if kind == "keywords":
            found = share_found(queries, rows, 10)
            figures.append(Figure(f"{what}: share of answers in the first 10, {suffix}", found, len(queries)))
    return figures


def _rank(texts: Vectors, pictures: Vectors) -> NDArray[np.int64]:
    """(texts, pictures): the pictures of each text, nearest first."""
    return np.argsort(-(texts @ pictures.T), axis=1, kind="stable")


def _draw_scenes(dataset: Dataset) -> list[_Scenes]:
    """Scenes of trained emoji, composed differently from those in training."""
    holdout, renderer = draw_holdout(dataset.emoji), SceneRenderer(_SEED)
    trained = [index for index in range(len(dataset.emoji)) if index not in holdout.emoji]
    order = np.random.default_rng(_SEED).permutation(trained).tolist()
    alone = [[index] for index in order[:_SMALL_SCENES]]
    small = [renderer.draw_small(dataset.pictures[shown[0]]) for shown in alone]
    scenes = [_Scenes("one small emoji off-centre", small, alone)]
    for kind, count, most in (("four", 4, _PANORAMAS), ("eight", 8, _LONG_PANORAMAS)):
        panoramas = min(most, len(order) // count)
        rows = np.array(order[: panoramas * count]).reshape(panoramas, count).tolist()
        drawn = [renderer.draw_panorama([dataset.pictures[index] for index in shown]) for shown in rows]
        scenes.append(_Scenes(f"panoramas of {kind} emoji", drawn, rows))
    return scenes


def _compare_precisions(model: Path, dataset: Dataset) -> list[Figure]:
    """Least cosines between vectors in bf16 and in fp32, on the CPU."""
    settings = Settings(vision_model_id=f"{LOCAL_PREFIX}{model}", require_cuda=False)
    exact, rounded = (
        load_encoder_on(ComputeDevice(torch.device("cpu"), precision), settings) for precision in ("fp32", "bf16")
    )
    side = exact.view_size
    tiles = dataset.pictures[:_PRECISION_SAMPLE, :side, :side]
    alpha = tiles[..., 3:].astype(np.float32) / 255
    views = (tiles[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    texts = exact.prepare_texts([emoji.name for emoji in dataset.emoji[:_PRECISION_SAMPLE]])
    pairs = {
        "pictures": (exact.encode_views(views), rounded.encode_views(views)),
        "texts": (exact.encode_texts(texts), rounded.encode_texts(texts)),
    }
    return [
        Figure(f"least cosine of bf16 and fp32, {what}", float((one * other).sum(axis=1).min()), len(one))
        for what, (one, other) in pairs.items()
    ]
