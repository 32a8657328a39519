"""A tiny tokenizer like SigLIP's, over the words of a few captions."""

from __future__ import annotations

import math
import string
from collections import Counter
from pathlib import Path

from training.general_english import CAPTIONS
from training.tokenizer import SPECIAL_TOKENS, WORD_START, list_fragments, save_tokenizer


def write_tiny_tokenizer(directory: Path, vocabulary_size: int, context_length: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json. Like SigLIP's it ends and pads texts with `</s>`, id 1."""
    save_tokenizer(directory, _list_pieces(vocabulary_size), context_length)


def _list_pieces(vocabulary_size: int) -> list[tuple[str, float]]:
    """At most `vocabulary_size` pieces with their log probability: characters, the words, the commonest fragments.

    Counted, not trained: the library's trainer gives other ids in every process.
    """
    words = Counter(WORD_START + word for word in CAPTIONS.split())
    fragments = list_fragments(words)
    characters = Counter(WORD_START + string.ascii_lowercase + string.digits)
    pieces = dict.fromkeys(SPECIAL_TOKENS, 0.0)
    # A word in one piece must score above the same word in two, and that above single characters.
    for counts, penalty in ((characters, 12.0), (words, 0.0), (fragments, 6.0)):
        total = counts.total()
        for piece, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            pieces.setdefault(piece, math.log(count / total) - penalty)
    return list(pieces.items())[:vocabulary_size]
