"""Digest of a tokenizer's behaviour: tokenizers with equal digests give the same ids for every text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer

# State of the last call, and the version of the file format.
_IGNORED_KEYS = ("truncation", "padding", "version")
# Keys for which null differs from false: it means "the same as lowercase".
_THREE_VALUED_KEYS = ("strip_accents",)
# Options that say where a tokenizer was found, not what it does.
_LOADING_OPTIONS = (
    "name_or_path",
    "is_local",
    "local_files_only",
    "model_max_length",
    "backend",
    "cache_dir",
    "revision",
)


def digest_tokenizer(tokenizer: Any) -> str:
    """SHA-256 of a loaded tokenizer, independent of its files, folder and order of keys.

    `tokenizer` is one of open_clip's, whose cleaning of texts and own rules are included.
    """
    described = {"clean": tokenizer.clean_fn.__name__, "ids": _describe_ids(tokenizer)}
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _describe_ids(tokenizer: Any) -> dict[str, Any]:
    """All that determines the ids of a cleaned text, as JSON."""
    if isinstance(tokenizer, SimpleTokenizer):
        merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
        return {"pieces": tokenizer.encoder, "merges": merges, "special": tokenizer.all_special_ids}
    inner = tokenizer.tokenizer
    return {
        "mode": tokenizer.tokenizer_mode,
        "strip_sep_token": tokenizer.strip_sep_token,
        "special": inner.special_tokens_map,
        "sides": [inner.padding_side, inner.truncation_side],
        "reads_special_tokens_as_text": bool(getattr(inner, "split_special_tokens", False)),
        "model": _describe_fast(inner) if inner.is_fast else _describe_slow(inner),
    }


def _describe_fast(inner: Any) -> Any:
    model = json.loads(inner.backend_tokenizer.to_str())
    return _without_defaults({key: value for key, value in model.items() if key not in _IGNORED_KEYS})


def _without_defaults(value: Any) -> Any:
    """Removes null and false: later versions of the library write more switches that are off."""
    if isinstance(value, Mapping):
        return {
            key: _without_defaults(part)
            for key, part in value.items()
            if key in _THREE_VALUED_KEYS or (part is not None and part is not False)
        }
    return [_without_defaults(part) for part in value] if isinstance(value, list) else value


def _describe_slow(inner: Any) -> dict[str, Any]:
    """A tokenizer in Python: its class, pieces and options, and digests of its files, which hold scores."""
    files = [getattr(inner, name, None) for name in ("vocab_file", "merges_file")]
    read = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files if file and Path(file).is_file()]
    options = {
        key: repr(value)
        for key, value in inner.init_kwargs.items()
        if key not in _LOADING_OPTIONS and not key.endswith("_file") and value is not None
    }
    return {"class": type(inner).__name__, "pieces": inner.get_vocab(), "options": options, "files": read}
