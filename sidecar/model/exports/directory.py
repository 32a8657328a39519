"""The files of an export, which hold all that serving it needs: graphs, tokenizer, configuration and golden vectors.

export.json                 the manifest, written last: a directory without one is no export
image.onnx, text.onnx       the towers; the weights are beside them in *.onnx.data
open_clip_config.json       model_cfg and preprocess_cfg
tokenizer/                  absent for open_clip's own BPE
text_tower/config.json      only for a text tower of the transformers library
golden.npz                  vectors of the exported model computed by PyTorch, for the self-test at each start
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from sidecar.batching.encoder import PairScale
from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import CONFIG_NAME, TEXT_CONFIG_NAME, TOKENIZER_NAMES, Checkpoint, read_config
from sidecar.model.golden import GOLDEN_NAME
from sidecar.model.identity import WeightFacts

MANIFEST_NAME = "export.json"
_TOKENIZER, _TEXT_TOWER = "tokenizer", "text_tower"

StoredPrecision: TypeAlias = Literal["fp32", "int8"]
Tower: TypeAlias = Literal["image", "text"]
TOWERS: tuple[Tower, ...] = ("image", "text")


class ExportManifest(BaseModel):
    """What an export was made of. `weights_digest` is part of the fingerprint, which is the same as with PyTorch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    model_id: str
    precision: StoredPrecision
    view_size: int
    weights_digest: str
    pair_scale: tuple[float, float] | None
    opset: int
    made_by: dict[str, str]
    """Versions of the sidecar and of the libraries that wrote the graphs."""

    @property
    def weights(self) -> WeightFacts:
        scale = None if self.pair_scale is None else PairScale(*self.pair_scale)
        return WeightFacts(self.weights_digest, self.view_size, scale)


class ExportDirectory:
    """A directory with an export, or in which one is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def golden(self) -> Path:
        return self.path / GOLDEN_NAME

    def graph(self, tower: Tower) -> Path:
        return self.path / f"{tower}.onnx"

    def read_manifest(self) -> ExportManifest:
        """Raises ModelError."""
        path = self.path / MANIFEST_NAME
        try:
            return ExportManifest.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            out = "a-new-directory" if self.path.exists() else self.path
            raise ModelError(
                f"EXPORT_DIR={self.path} holds no export: {MANIFEST_NAME} is missing\n"
                f"HINT: Name the directory of an export, or make one: sidecar export --out {out}"
            ) from error
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error}") from error
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors())
            raise ModelError(f"{path} is damaged, or of another version of sidecar: {found}") from error

    def write_manifest(self, manifest: ExportManifest) -> None:
        (self.path / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def write_configuration(self, checkpoint: Checkpoint) -> None:
        """Copies the configuration and the tokenizer's files."""
        config = {"model_cfg": checkpoint.model_cfg, "preprocess_cfg": checkpoint.preprocess_cfg}
        (self.path / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if checkpoint.tokenizer is not None:
            _copy_files(checkpoint.tokenizer, self.path / _TOKENIZER)
        if checkpoint.text_tower is not None:
            (self.path / _TEXT_TOWER).mkdir()
            shutil.copyfile(checkpoint.text_tower / TEXT_CONFIG_NAME, self.path / _TEXT_TOWER / TEXT_CONFIG_NAME)

    def read_checkpoint(self) -> Checkpoint:
        """The exported model's configuration and tokenizer; `weights` is the graph of the vision tower.

        Raises ModelError.
        """
        model_cfg, preprocess_cfg = read_config(self.path / CONFIG_NAME)
        tokenizer, text_tower = self.path / _TOKENIZER, self.path / _TEXT_TOWER
        return Checkpoint(
            source=str(self.path),
            weights=self.graph("image"),
            tokenizer=tokenizer if tokenizer.is_dir() else None,
            text_tower=text_tower if text_tower.is_dir() else None,
            model_cfg=model_cfg,
            preprocess_cfg=preprocess_cfg,
        )


def store_pair_scale(scale: PairScale | None) -> tuple[float, float] | None:
    """`scale` as the manifest holds it: scale and bias."""
    return None if scale is None else (scale.scale, scale.bias)


def _copy_files(source: Path, target: Path) -> None:
    """Copies a tokenizer's files, of which a model's own directory has others beside them."""
    target.mkdir()
    for name in TOKENIZER_NAMES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
