"""A training run in a folder, which can be continued from its last checkpoint."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import HFTokenizer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional

from training.batches import BatchSampler, find_flippable
from training.caption_bank import CaptionBank
from training.captions import CaptionWriter, write_captions
from training.compositing import Atlas
from training.dataset import Dataset
from training.holdout import draw_holdout
from training.options import TrainingOptions
from training.phrases import collect_phrases
from training.tokenizer import write_tokenizer
from training.trainer import Trainer

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
OPTIONS_NAME = "options.json"
LOG_NAME = "log.jsonl"
DATASET_NAME = "dataset.npz"
_LOG_EVERY_STEPS = 100
_EVALUATIONS = 12
_MIN_STEPS_BETWEEN_EVALUATIONS = 500
_CHECKPOINT_EVERY_S = 60.0
_CHUNK = 256


class TrainingRun:
    """Prepares all constant data on the device; `finish` trains."""

    def __init__(self, folder: Path, dataset: Dataset, options: TrainingOptions, device: torch.device) -> None:
        self._folder, self._options, self._device = folder, options, device
        corpus, holdout = dataset.emoji, draw_holdout(dataset.emoji)
        shape = options.shape
        write_tokenizer(folder, corpus, shape.vocabulary_size, shape.context_length)
        tokenize = HFTokenizer(str(folder), context_length=shape.context_length, clean="canonicalize")
        phrases = collect_phrases(corpus, holdout)
        trained = [index for index in range(len(corpus)) if index not in holdout.emoji]
        captions = write_captions(CaptionWriter(phrases, holdout, options.seed), trained, options.captions_per_emoji)
        bank = CaptionBank(dict(zip(trained, captions, strict=True)), len(corpus), tokenize).to(device)
        self._atlas = Atlas(dataset.pictures, device)
        self._names = tokenize([emoji.name for emoji in corpus]).to(device)
        self._trained = torch.tensor(trained, device=device)
        truth, flippable = torch.from_numpy(phrases.truth).to(device), find_flippable(corpus).to(device)
        sampler = BatchSampler(self._atlas, bank, truth, flippable)
        self.trainer = Trainer(options, sampler, self._trained, device)

    def finish(self, until_step: int | None = None) -> None:
        """Trains to the last step, or to `until_step`, from the last checkpoint if there is one."""
        checkpoint, end = self._folder / CHECKPOINT_NAME, until_step or self._options.steps
        if checkpoint.exists():
            self.trainer.load(checkpoint)
            logger.info("Continuing at step %d of %d", self.trainer.steps_done, self._options.steps)
        saved_at = time.monotonic()
        with _progress_bar() as progress:
            bar = progress.add_task("training", total=self._options.steps, completed=self.trainer.steps_done)
            while self.trainer.steps_done < end:
                loss = self.trainer.step()
                self._report(loss)
                progress.update(bar, completed=self.trainer.steps_done)
                if time.monotonic() - saved_at > _CHECKPOINT_EVERY_S:
                    self.trainer.save(checkpoint)
                    saved_at = time.monotonic()
        self.trainer.save(checkpoint)

    def _report(self, loss: torch.Tensor) -> None:
        """Appends to the log at intervals, sometimes with recall."""
        done = self.trainer.steps_done
        every = max(self._options.steps // _EVALUATIONS, _MIN_STEPS_BETWEEN_EVALUATIONS)
        looks = done % every == 0 or done == self._options.steps
        if not looks and done % _LOG_EVERY_STEPS:
            return
        entry: dict[str, str | float] = {"step": done, "unix_s": round(time.time(), 1), "loss": round(loss.item(), 4)}
        if looks:
            recall = measure_name_recall(
                self.trainer.average, self._atlas, self._names, self._trained, self._options.shape.image_size
            )
            entry |= {name: round(value, 4) for name, value in recall.items()}
            entry["device"] = _device_name(self._device)
            logger.info("%s", entry)
        with (self._folder / LOG_NAME).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"


def _progress_bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def measure_name_recall(
    towers: Any, atlas: Atlas, name_tokens: torch.Tensor, trained: torch.Tensor, side: int
) -> dict[str, float]:
    """recall@1 and recall@5 of names among clean pictures, for trained and other emoji.

    A quick measure on the device during training; `training.evaluation` measures through the product. `name_tokens` is
    (emoji, tokens).
    """
    with torch.inference_mode():
        pictures = torch.cat([_encode_clean(towers, tiles, side) for tiles in torch.split(atlas.tiles, _CHUNK)])
        texts = torch.cat([towers.encode_text(tokens) for tokens in torch.split(name_tokens, _CHUNK)])
        similarity = functional.normalize(texts.float(), dim=-1) @ functional.normalize(pictures.float(), dim=-1).T
    better = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
    is_trained = torch.zeros(len(better), dtype=torch.bool, device=better.device)
    is_trained[trained] = True
    return {
        f"{group} names recall@{first}": (better[chosen] < first).float().mean().item()
        for group, chosen in (("trained", is_trained), ("other", ~is_trained))
        for first in (1, 5)
    }


def _encode_clean(towers: Any, tiles: torch.Tensor, side: int) -> torch.Tensor:
    on_white = tiles[:, :3].float() + 1.0 - tiles[:, 3:].float()
    pixels = functional.interpolate(on_white, (side, side), mode="bilinear", antialias=True, align_corners=False)
    encoded: torch.Tensor = towers.encode_image(pixels * 2.0 - 1.0)
    return encoded
