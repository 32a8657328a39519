"""Builds a tokenizer like SigLIP's from the names and keywords of emoji."""

from __future__ import annotations

import json
import math
import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from training.captions import TEMPLATES
from training.corpus import Emoji
from training.general_english import CAPTIONS

END_ID = 1
"""`</s>`, which ends a text and pads it."""
SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
_UNKNOWN_ID = 2
WORD_START = "\u2581"
_FRAGMENT_LENGTHS = (2, 3, 4)
_FRAGMENTS_SHARE = 0.25


def write_tokenizer(directory: Path, corpus: Iterable[Emoji], vocabulary_size: int, context_length: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json, reproducibly for a corpus."""
    save_tokenizer(directory, _list_pieces(_count_words(corpus), vocabulary_size), context_length)


def save_tokenizer(directory: Path, pieces: list[tuple[str, float]], context_length: int) -> None:
    """Writes a Unigram tokenizer of `pieces` with their log probabilities; the first three are the special tokens."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=_UNKNOWN_ID, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END_ID)])
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "T5TokenizerFast",
        "pad_token": "</s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": context_length,
        "extra_ids": 0,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def list_fragments(words: Counter[str]) -> Counter[str]:
    """Counts the parts of 2 to 4 letters of the distinct `words`."""
    return Counter(
        word[start : start + length]
        for word in words
        for length in _FRAGMENT_LENGTHS
        for start in range(len(word) - length + 1)
    )


def _count_words(corpus: Iterable[Emoji]) -> Counter[str]:
    """Counts words of names, keywords, templates, and of general English, so that other words get sensible pieces."""
    texts = [text for emoji in corpus for text in (emoji.canonical_name, *emoji.keywords)]
    texts += [template.replace("{}", "") for template in TEMPLATES] + [CAPTIONS]
    return Counter(WORD_START + word for text in texts for word in text.split())


def _list_pieces(words: Counter[str], vocabulary_size: int) -> list[tuple[str, float]]:
    """`vocabulary_size` pieces with log probabilities: all characters, the most common words and fragments.

    Counted instead of trained: the library's trainer gives different ids in every process.
    """
    fragments = list_fragments(words)
    characters = Counter("".join(words) + WORD_START + string.ascii_lowercase + string.digits)
    room = vocabulary_size - len(SPECIAL_TOKENS) - len(characters)
    fragment_room = max(round(room * _FRAGMENTS_SHARE), room - len(words))
    pieces = dict.fromkeys(SPECIAL_TOKENS, 0.0)
    # One piece for a word must score above two pieces for it, and those above single characters.
    for counts, penalty, most in (
        (characters, 12.0, len(characters)),
        (words, 0.0, room - fragment_room),
        (fragments, 6.0, len(fragments)),
    ):
        total = counts.total()
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        for piece, count in ranked[:most]:
            pieces.setdefault(piece, math.log(count / total) - penalty)
    return list(pieces.items())[:vocabulary_size]
