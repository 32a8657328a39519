"""Finds and loads the cross-encoder that the settings name."""

from __future__ import annotations

import dataclasses
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from sidecar.batching.device_health import DeviceCall
from sidecar.config import Settings
from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import HUB_PREFIX, TOKENIZER_NAMES, has_tokenizer
from sidecar.model.checkpoints.hub import fetch_snapshot
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.reranker.cross_encoder import CrossEncoderScorer
from sidecar.model.reranker.pair_tokenizer import PairTokenizer
from sidecar.model.reranker.selftest import run_pair_self_test

logger = logging.getLogger(__name__)

_VARIABLE = "RERANK_MODEL_ID"
_CONFIG_NAMES = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has


def _unmonitored(_what: str) -> AbstractContextManager[None]:
    return nullcontext()


def load_cross_encoder(settings: Settings, device_call: DeviceCall = _unmonitored) -> CrossEncoderScorer:
    """Finds, downloads if necessary, loads and tests the cross-encoder that the settings name. Blocks for seconds.

    The self-test runs within `device_call`. Raises ConfigurationError if the device is not available, ModelError if
    the model is unusable.
    """
    return load_cross_encoder_on(_choose_compute(settings), settings, device_call)


def load_cross_encoder_on(
    compute: ComputeDevice, settings: Settings, device_call: DeviceCall = _unmonitored
) -> CrossEncoderScorer:
    """As `load_cross_encoder`, on a given device. Raises ModelError."""
    started = time.monotonic()
    model_id = settings.rerank_model_id
    folder = find_cross_encoder(model_id, settings.hf_token.get_secret_value() if settings.hf_token else None)
    _silence_transformers()
    _check_weights(folder)
    model = _load(folder, compute)
    tokenizer = PairTokenizer(
        _fast_tokenizer(model),
        _max_tokens(model, settings.rerank_max_tokens),
        _prompt(model),
        model.tokenizer.all_special_tokens,
    )
    reads_segments = "token_type_ids" in model.tokenizer.model_input_names
    scorer = CrossEncoderScorer(model, tokenizer, model_id, compute, reads_segments=reads_segments)
    with device_call(f"the self-test of {model_id}"):
        run_pair_self_test(scorer)
    where = f"{scorer.device_name} in {scorer.precision}"
    logger.info("Loaded %s to rerank on %s, %.1f s", model_id, where, time.monotonic() - started)
    return scorer


def find_cross_encoder(model_id: str, token: str | None) -> Path:
    """The folder of `org/name` on Hugging Face (downloading what is missing), or of `local-dir:/path`.

    Raises ModelError that says what to set.
    """
    if model_id.startswith(LOCAL_PREFIX):
        return _check_folder(Path(model_id.removeprefix(LOCAL_PREFIX)).expanduser())
    repo_id = model_id.removeprefix(HUB_PREFIX)
    for weights_name in _WEIGHTS_NAMES:
        names = (*_CONFIG_NAMES, *TOKENIZER_NAMES, weights_name)
        folder = fetch_snapshot(repo_id, names, _is_complete, token, _VARIABLE)
        if folder is not None:
            return folder
    lacking = f"it lacks config.json, {_WEIGHTS_NAMES[0]} or a tokenizer"
    raise ModelError(f"{_VARIABLE}={model_id}: the repository holds no cross-encoder: {lacking}")


def _check_folder(directory: Path) -> Path:
    if not directory.is_dir():
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: there is no such directory")
    if not (directory / "config.json").is_file():
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: it holds no config.json, which describes the model")
    if not has_tokenizer(directory):
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: it holds no tokenizer: tokenizer.json is expected")
    return directory


def _is_complete(directory: Path) -> bool:
    has_weights = any((directory / name).is_file() for name in _WEIGHTS_NAMES)
    return (directory / "config.json").is_file() and has_weights and has_tokenizer(directory)


def _choose_compute(settings: Settings) -> ComputeDevice:
    """If no precision is set, fp16 on a GPU: the 8 bits of bf16 are too few to order documents with close scores."""
    compute = choose_device(settings)
    if settings.model_precision is None and compute.device.type == "cuda":
        return dataclasses.replace(compute, precision="fp16")
    return compute


def _silence_transformers() -> None:
    """Disables progress bars and the load report, whose relevant part `_check_weights` raises as an error."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _check_weights(folder: Path) -> None:
    """Raises ModelError for missing weights: transformers would fill them with random numbers and warn."""
    try:
        _, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    # transformers, safetensors and torch raise nearly every kind of error for inconsistent files.
    except Exception as error:
        raise ModelError(f"the cross-encoder in {folder} cannot be loaded: {error}") from error
    if missing := sorted(loading["missing_keys"]):
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelError(f"the model in {folder} lacks the weights {named}: is it a cross-encoder, and whole?")


def _load(folder: Path, compute: ComputeDevice) -> CrossEncoder:
    try:
        model: CrossEncoder = CrossEncoder(str(folder), device=str(compute.device), local_files_only=True)
        model.to(dtype=compute.dtype).eval().requires_grad_(False)
    except Exception as error:  # as above
        raise ModelError(f"the cross-encoder in {folder} cannot be loaded: {error}") from error
    if model.num_labels != 1:
        raise ModelError(
            f"the model in {folder} gives {model.num_labels} labels for a pair, a reranker gives one score: "
            f"name one in RERANK_MODEL_ID such as cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    if len(model) != 1 or model.tokenizer.padding_side != "right":
        raise ModelError(f"the model in {folder} is no plain classifier of pairs with a score for each; name another")
    return model


def _fast_tokenizer(model: CrossEncoder) -> Tokenizer:
    """The thread-safe tokenizer in Rust. Raises ModelError if there is none, or if its ids exceed the embeddings."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        raise ModelError(f"the tokenizer of {model.tokenizer.name_or_path} has no tokenizer.json")
    assert model.model is not None
    embeddings: Any = model.model.get_input_embeddings()
    known = int(embeddings.num_embeddings)
    highest = max(tokenizer.get_vocab().values())
    if highest >= known:
        raise ModelError(f"the tokenizer is not this model's: it gives token {highest}, the model has {known}")
    return tokenizer


def _max_tokens(model: CrossEncoder, wanted: int) -> int:
    """The least of `wanted` and the limits of the tokenizer and the model's position embeddings."""
    limits = [wanted, model.max_seq_length or wanted]
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        if isinstance(positions, torch.nn.Embedding):
            # Models of RoBERTa's family count positions from behind the padding's index.
            unused = 0 if positions.padding_idx is None else positions.padding_idx + 1
            limits.append(positions.num_embeddings - unused)
    return min(limits)


def _prompt(model: CrossEncoder) -> str:
    """The prefix that the model expects before every query."""
    name = model.default_prompt_name
    return (model.prompts.get(name) if name is not None else None) or ""
