from __future__ import annotations

import hashlib
from pathlib import Path

from open_clip.tokenizer import HFTokenizer

from tests.training.emoji_set import TINY_SHAPE
from training.dataset import Dataset
from training.tokenizer import _count_words, _list_pieces, write_tokenizer

PIECES_DIGEST = "3bcdd2fb1ace1b1095ab7b2c5b8a8e23ab3c8d7fbde7467f410c452f3a18c050"


def test_it_is_the_same_in_every_process(emoji_set: Dataset) -> None:
    pieces = [piece for piece, _ in _list_pieces(_count_words(emoji_set.emoji), 400)]
    assert hashlib.sha256("\n".join(pieces).encode()).hexdigest() == PIECES_DIGEST


def test_words_of_the_corpus_are_one_token_and_others_are_several(tokenizer: HFTokenizer) -> None:
    def pieces(text: str) -> list[str]:
        ids = [index for index in tokenizer([text])[0].tolist() if index != 1]
        return list(tokenizer.tokenizer.convert_ids_to_tokens(ids))

    assert pieces("Red DISC!") == ["▁red", "▁disc"]
    unheard = pieces("zyxquark")
    assert len(unheard) > 1
    assert "".join(unheard) == "▁zyxquark"


def test_texts_are_terminated_and_padded_with_the_end_token(tokenizer: HFTokenizer) -> None:
    ids = tokenizer(["red disc", "red " * 50])
    assert ids.shape == (2, TINY_SHAPE.context_length)
    assert (ids[0, 2:] == 1).all()
    assert ids[1, -1] == 1
    assert (ids < TINY_SHAPE.vocabulary_size).all()


def test_it_has_the_requested_size(emoji_set: Dataset, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, emoji_set.emoji, 300, 16)
    assert HFTokenizer(str(tmp_path), context_length=16).tokenizer.vocab_size == 300
