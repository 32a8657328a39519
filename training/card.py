"""Writes the model card from its template and the figures of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template

import torch
from safetensors import safe_open

from training.evaluation import Figure
from training.export import WEIGHTS_NAME
from training.options import TrainingOptions, default_options

CARD_NAME = "MODEL_CARD.md"
_TEMPLATE = Path(__file__).with_name("model_card.md")
_PRECISIONS = ("pictures", "texts")
_CUTOFFS = ("recall@1", "recall@5", "recall@10", "share of answers in the first 10")
_CLEAN_GROUPS = {
    "names, trained emoji": "names of trained emoji",
    "names, held-out emoji": "**names of held-out emoji**",
    "keywords, trained": "trained keywords",
    "keywords, held out, of known words": "**held-out keywords, all words occur in other captions**",
    "keywords, held out, with a new word": "**held-out keywords with a word that never occurs**",
}
_HELD_OUT_KEYWORDS = tuple(group for group in _CLEAN_GROUPS if group.startswith("keywords, held out"))
_SCENES = ("one small emoji off-centre", "panoramas of four emoji", "panoramas of eight emoji")


def write_card(model: Path, options: TrainingOptions, figures: Sequence[Figure], trained_on: tuple[str, float]) -> None:
    """Writes MODEL_CARD.md into folder `model`. `trained_on`: the hardware's name and the minutes of training."""
    by_name = {figure.name: figure for figure in figures}
    without_gpu = default_options(torch.device("cpu"))
    facts = {
        **asdict(options),
        **asdict(options.shape),
        "parameters": f"{_count_parameters(model / WEIGHTS_NAME) / 1e6:.1f} million",
        "clean_table": _clean_table(by_name),
        "scenes_table": _scenes_table(by_name),
        "precision_table": _precision_table(by_name),
        "hardware": trained_on[0],
        "minutes": f"{trained_on[1]:.0f}",
        "cpu_steps": f"{without_gpu.steps:,}",
        "cpu_batch_size": without_gpu.batch_size,
    }
    facts["steps"] = f"{options.steps:,}"
    (model / CARD_NAME).write_text(Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(facts), encoding="utf-8")


def read_log(log: Path) -> tuple[str, float]:
    """The hardware of a run, and the minutes from its first log entry to its last, including pauses."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return str(entries[-1].get("device", "unnamed hardware")), (entries[-1]["unix_s"] - entries[0]["unix_s"]) / 60


def _count_parameters(weights: Path) -> int:
    with safe_open(weights, framework="pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


def _clean_table(figures: Mapping[str, Figure]) -> str:
    rows = []
    for group, label in _CLEAN_GROUPS.items():
        names = [f"clean pictures, {group}: {cutoff}, TTA on" for cutoff in _CUTOFFS]
        count = next(figures[name].count for name in names if name in figures)
        rows.append([label, f"{count:,}", *(_show(figures.get(name)) for name in names)])
    return _table([*rows, _held_out_row(figures)])


def _held_out_row(figures: Mapping[str, Figure]) -> list[str]:
    """The two groups of held-out keywords combined."""
    cells, count = [], 0
    for cutoff in _CUTOFFS:
        parts = [figures.get(f"clean pictures, {group}: {cutoff}, TTA on") for group in _HELD_OUT_KEYWORDS]
        found = [figure for figure in parts if figure]
        count = max(count, sum(figure.count for figure in found))
        cells.append(f"{sum(figure.value * figure.count for figure in found) / count:.3f}" if found else "")
    return ["**held-out keywords, all**", f"{count:,}", *cells]


def _scenes_table(figures: Mapping[str, Figure]) -> str:
    rows = []
    for kind in _SCENES:
        for cutoff in ("recall@1", "recall@5"):
            names = [f"{kind}: {cutoff}, {views}" for views in ("TTA on", "TTA off", "TTA on, anchor weight 0.5")]
            found = [figures.get(name) for name in names]
            count = next((figure.count for figure in found if figure), 0)
            rows.append([f"{kind}, {cutoff}", f"{count:,}", *map(_show, found)])
    return _table(rows)


def _precision_table(figures: Mapping[str, Figure]) -> str:
    return _table(
        [[f"bf16, {what}", f"{figures[f'least cosine of bf16 and fp32, {what}'].value:.4f}"] for what in _PRECISIONS]
    )


def _show(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.value:.3f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
