"""A tiny tokenizer like SigLIP's, over the words of a few captions."""

from __future__ import annotations

import json
import math
import string
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from training.general_english import CAPTIONS

_SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
_WORD_START = "\u2581"
_FRAGMENT_LENGTHS = (2, 3, 4)


def write_tiny_tokenizer(directory: Path, vocabulary_size: int, context_length: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json. Like SigLIP's it ends and pads texts with `</s>`, id 1."""
    tokenizer = Tokenizer(models.Unigram(_list_pieces(vocabulary_size), unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "T5TokenizerFast",
        "pad_token": "</s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": context_length,
        "extra_ids": 0,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _list_pieces(vocabulary_size: int) -> list[tuple[str, float]]:
    """At most `vocabulary_size` pieces with their log probability: characters, the words, the commonest fragments.

    Counted, not trained: the library's trainer gives other ids in every process.
    """
    words = Counter(_WORD_START + word for word in CAPTIONS.split())
    fragments = Counter(
        word[start : start + length]
        for word in words
        for length in _FRAGMENT_LENGTHS
        for start in range(len(word) - length + 1)
    )
    characters = Counter(_WORD_START + string.ascii_lowercase + string.digits)
    pieces = dict.fromkeys(_SPECIAL_TOKENS, 0.0)
    # A word in one piece must score above the same word in two, and that above single characters.
    for counts, penalty in ((characters, 12.0), (words, 0.0), (fragments, 6.0)):
        total = counts.total()
        for piece, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            pieces.setdefault(piece, math.log(count / total) - penalty)
    return list(pieces.items())[:vocabulary_size]
