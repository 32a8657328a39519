"""A tokenizer to which "[SEP]" or "</s>" inside a text is text, not a mark of the model's."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Any

from tokenizers import Tokenizer


def find_special_tokens(tokenizer: Tokenizer) -> frozenset[str]:
    """What the tokenizer itself calls special, by its spelling."""
    added = json.loads(tokenizer.to_str())["added_tokens"]
    return frozenset(token["content"] for token in added if token["special"])


def without_special_tokens(tokenizer: Tokenizer, special: Collection[str]) -> Tokenizer:
    """A copy that finds none of `special` in a text; its post-processor puts them around texts as before.

    `encode_special_tokens` of tokenizers does so for added tokens only: a Unigram model, and a BPE model that looks up
    whole words, have "</s>" among their pieces too, and give its id for the same letters. So the special tokens are
    spelled here as no text can know; the ids are those they were, also the ones that the post-processor knows.
    """
    description = json.loads(tokenizer.to_str())
    spelling = {token: f"\0{secrets.token_hex(16)}" for token in special}
    for token in description["added_tokens"]:
        token["content"] = spelling.get(token["content"], token["content"])
    _respell(description["model"], spelling)
    return Tokenizer.from_str(json.dumps(description))


def _respell(model: dict[str, Any], spelling: dict[str, str]) -> None:
    """What merges make of letters is a word of the language, whatever it is called: BPE would miss it."""
    made = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in model.get("merges", ())}
    spelling = {token: other for token, other in spelling.items() if token not in made}
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {spelling.get(piece, piece): number for piece, number in vocabulary.items()}
    else:
        model["vocab"] = [[spelling.get(piece, piece), score] for piece, score in vocabulary]
    if "unk_token" in model:
        model["unk_token"] = spelling.get(model["unk_token"], model["unk_token"])
