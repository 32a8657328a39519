"""Writes small `local-dir:` models of every family of open_clip, with random weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file

from sidecar.model.checkpoints.checkpoint import CONFIG_NAME
from tests.model.variants import WEIGHTS_NAME, edit_json
from tests.tiny_models.open_clip_model import draw_weight
from tests.tiny_models.tokenizer import write_tiny_tokenizer

Config = dict[str, Any]

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
HF_VOCABULARY = 1000

# In the words of transformers; of each the smallest that computes what the big one computes.
TEXT_TOWERS: dict[str, Config] = {
    "roberta": {"model_type": "roberta", "max_position_embeddings": 100, "type_vocab_size": 1},
    "xlm-roberta": {"model_type": "xlm-roberta", "max_position_embeddings": 100, "type_vocab_size": 1},
    "bert": {"model_type": "bert", "max_position_embeddings": 100},
    "mt5": {"model_type": "mt5", "d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 1, "num_heads": 2},
    "m2m_100": {
        "model_type": "m2m_100",
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    },
}
_TEXT_TOWER_SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": HF_VOCABULARY,
    "pad_token_id": 0,
}


def write_model(directory: Path, model_cfg: Config, preprocess_cfg: Config | None = None, seed: int = 0) -> Path:
    """Writes a `local-dir:` model of that configuration, with a tokenizer if it names one.

    `hf_model_name` is one of TEXT_TOWERS.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(model_cfg)
    text_cfg = config["text_cfg"]
    if "hf_model_name" in text_cfg:
        text_cfg["hf_model_name"] = str(_write_text_tower(directory / "text_tower", text_cfg["hf_model_name"]))
    if text_cfg.get("hf_tokenizer_name"):
        write_tiny_tokenizer(directory, HF_VOCABULARY, text_cfg.get("context_length", 77))
        # The towers of transformers mask padding: it must differ from the end token.
        special = {"pad_token": "<pad>", "sep_token": "</s>"}
        edit_json(directory / "tokenizer_config.json", lambda content: content.update(special))
    preprocess_cfg = {"mean": CLIP_MEAN, "std": CLIP_STD} if preprocess_cfg is None else preprocess_cfg
    (directory / CONFIG_NAME).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess_cfg}))
    model = open_clip.create_model(f"local-dir:{directory}", load_weights=False, pretrained_text=False)
    save_file(draw_weights(model, seed), directory / WEIGHTS_NAME)
    return directory


def draw_weights(model: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Large enough that different inputs give clearly different vectors, unlike a model initialised for training."""
    generator = np.random.default_rng(seed)
    return {name: _draw(name, tensor, generator).contiguous() for name, tensor in sorted(model.state_dict().items())}


def _draw(name: str, tensor: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    if name.endswith("running_mean"):
        return torch.zeros_like(tensor)
    if not tensor.is_floating_point():
        return tensor
    gain = 2.0**0.5 if tensor.ndim == 4 else 1.0  # compensates for rectifiers between convolutions
    return gain * draw_weight(name, tensor, generator)


def _write_text_tower(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**_TEXT_TOWER_SIZE, **TEXT_TOWERS[name]}))
    return folder


_TEXT: Config = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_VIT: Config = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
_HF_TEXT: Config = {"context_length": 40, "hf_tokenizer_name": "tiny", "hf_proj_type": "mlp"}

FAMILIES: dict[str, Config] = {
    "clip": {"embed_dim": 48, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "clip with quick gelu": {"embed_dim": 48, "quick_gelu": True, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "resnet": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
        "text_cfg": _TEXT,
    },
    "coca": {
        "embed_dim": 48,
        "custom_text": True,
        "vision_cfg": {**_VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "clipa": {
        "embed_dim": 48,
        "vision_cfg": {**_VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {
            **_TEXT,
            "context_length": 32,
            "vocab_size": HF_VOCABULARY,
            "hf_tokenizer_name": "tiny",
            "tokenizer_kwargs": {"strip_sep_token": True},
            "pool_type": "last",
            "no_causal_mask": True,
        },
    },
    "convnext": {
        "embed_dim": 48,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 96},
        "text_cfg": _TEXT,
    },
    "roberta": {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": _VIT,
        "text_cfg": {**_HF_TEXT, "hf_model_name": "roberta", "hf_pooler_type": "mean_pooler"},
    },
    "mt5": {
        "embed_dim": 48,
        "vision_cfg": _VIT,
        "text_cfg": {**_HF_TEXT, "hf_model_name": "mt5", "hf_pooler_type": "mean_pooler"},
    },
    "nllb": {
        "embed_dim": 48,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "test_vit3", "image_size": 160, "timm_pool": "map", "timm_proj": "linear"},
        "text_cfg": {
            **_HF_TEXT,
            "hf_model_name": "m2m_100",
            "hf_proj_type": "linear",
            "hf_pooler_type": "cls_pooler",
        },
    },
}

# Of timm's models those that open_clip's configurations name, and the smallest that is built by the same code.
_SMALLEST = {
    "convnext": "test_convnext",
    "eva": "eva02_tiny_patch14_224",
    "fastvit_mci": "fastvit_mci0",
    "swin": "swin_tiny_patch4_window7_224",
    "vitamin": "vitamin_small_224",
    "vit_pe_core": "vit_pe_core_tiny_patch16_384",
    "vit_relpos": "vit_relpos_small_patch16_224",
    "vit_base_mci": "vit_base_mci_224",
    "vit_medium_patch16_gap": "test_vit2",
    "vit_large_patch14_clip": "test_vit",
    "vit_": "test_vit3",
}
_TEXT_TOWER_NAMES = {
    "roberta-base": "roberta",
    "xlm-roberta": "xlm-roberta",
    "google/mt5": "mt5",
    "facebook/nllb": "m2m_100",
}


def shrink(model_cfg: Config) -> Config:
    """The same kind of model with the fewest layers and the least width, and all other options unchanged."""
    small = copy.deepcopy(model_cfg)
    vision_cfg, text_cfg = small["vision_cfg"], small["text_cfg"]
    small["embed_dim"] = 48
    if "timm_model_name" in vision_cfg:
        name = _look_up(_SMALLEST, vision_cfg["timm_model_name"])
        trunk: Any = timm.create_model(name)
        vision_cfg.update(timm_model_name=name, image_size=trunk.default_cfg["input_size"][1])
        if vision_cfg.get("timm_proj") == "none":
            small["embed_dim"] = trunk.num_features
    elif isinstance(vision_cfg["layers"], list):
        vision_cfg.update(layers=[1, 1, 1, 1], width=16, image_size=64)
    else:
        vision_cfg.update(layers=1, width=64, head_width=32, image_size=4 * vision_cfg["patch_size"])
    if "hf_model_name" in text_cfg:
        text_cfg["hf_model_name"] = _look_up(_TEXT_TOWER_NAMES, text_cfg["hf_model_name"])
    else:
        # Without a projection the width equals the dimensions of the vectors.
        width = small["embed_dim"] if text_cfg.get("proj_type") == "none" else 32
        text_cfg.update(width=width, heads=2, layers=1)
    if text_cfg.get("hf_tokenizer_name"):
        text_cfg.update(hf_tokenizer_name="tiny", vocab_size=HF_VOCABULARY)
    if "multimodal_cfg" in small:
        small["multimodal_cfg"].update(width=32, heads=2, layers=1)
    return small


def _look_up(table: dict[str, str], name: str) -> str:
    return next(value for prefix, value in table.items() if name.startswith(prefix))
