"""Tokenises a query and a document to one sequence, as a cross-encoder reads them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from sidecar.batching.encoder import PreparedPair
from sidecar.batching.preparation import raise_if_cancelled
from sidecar.errors import TextRejected
from sidecar.model.text.segmentation import max_word_chars

_DOCUMENTS_AT_ONCE = 64  # bounds the memory of tokens that are truncated afterwards
# A token has about four characters. Of a longer document a prefix is tokenised first, which is nearly always enough.
_CHARS_OF_A_TOKEN = 16
_SPARE_TOKENS = 64  # of a prefix, whose last word may be incomplete, or too long to be in the vocabulary


class PairTokenizer:
    """Truncates documents to the model's limit, never the query. Thread-safe.

    A special token such as "[SEP]" inside a query or a document is tokenised as text: otherwise the author of a
    document could end it early and begin another. `special`: further special tokens that the tokenizer does not list
    itself. `prompt` is prepended to every query, as in training; special tokens within it keep their meaning.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_tokens: int, prompt: str = "", special: Collection[str] = frozenset()
    ) -> None:
        # Copies, because padding and truncation are mutable state of a tokenizer.
        special = find_special_tokens(tokenizer) | frozenset(special)
        self._tokenizer = disable_special_tokens(tokenizer, special)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._spare_tokens = max(_SPARE_TOKENS, max_word_chars(tokenizer))
        self._max_tokens = max_tokens
        self._prompt = prompt
        self._special_prompt: Encoding | None = None
        if any(token in prompt for token in special):
            original = disable_special_tokens(tokenizer, ())
            original.no_padding()
            original.no_truncation()
            self._special_prompt = original.encode(prompt, add_special_tokens=False)

    def prepare(
        self, query: str, documents: Sequence[str], max_document_tokens: int | None = None
    ) -> list[PreparedPair]:
        """One per document, in order. Raises TextRejected (`query_too_long`)."""
        encoded_query = self._encode_query(query)
        room = self._max_tokens - len(encoded_query.ids) - self._tokenizer.num_special_tokens_to_add(is_pair=True)
        if room < 1:
            message = (
                f"The query has {len(encoded_query.ids)} tokens, which leaves no room for a document: the model "
                f"reads {self._max_tokens} of both together (RERANK_MAX_TOKENS, and the model's own limit)."
            )
            raise TextRejected("query_too_long", message, "query")
        room = room if max_document_tokens is None else min(room, max_document_tokens)
        return [self._join(encoded_query, document, room) for document in self._encode(documents, room)]

    def _encode_query(self, query: str) -> Encoding:
        if self._special_prompt is None:
            return self._tokenizer.encode(self._prompt + query, add_special_tokens=False)
        return Encoding.merge([self._special_prompt, self._tokenizer.encode(query, add_special_tokens=False)])

    def _encode(self, documents: Sequence[str], room: int) -> Iterator[Encoding]:
        """Encodes as much of each document as determines its first `room` tokens, and whether there are more."""
        enough = room + self._spare_tokens
        chars = enough * _CHARS_OF_A_TOKEN
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            some = documents[start : start + _DOCUMENTS_AT_ONCE]
            beginnings = self._tokenizer.encode_batch([document[:chars] for document in some], add_special_tokens=False)
            for document, encoded in zip(some, beginnings, strict=True):
                yield self._read_on(document, encoded, chars, enough)

    def _read_on(self, document: str, encoded: Encoding, chars: int, enough: int) -> Encoding:
        """Extends the prefix until it has enough tokens, for a document that begins with blanks or is one long word."""
        while chars < len(document) and len(encoded.ids) < enough:
            raise_if_cancelled()
            chars *= 4
            encoded = self._tokenizer.encode(document[:chars], add_special_tokens=False)
        return encoded

    def _join(self, query: Encoding, document: Encoding, room: int) -> PreparedPair:
        """Truncates the document to `room` tokens, and joins both with separators."""
        truncated = len(document.ids) > room
        document.truncate(room)
        pair = self._tokenizer.post_process(query, document, add_special_tokens=True)
        return PreparedPair(np.array(pair.ids, np.int64), np.array(pair.type_ids, np.int64), truncated)


def find_special_tokens(tokenizer: Tokenizer) -> frozenset[str]:
    """The spellings of the tokenizer's own special tokens."""
    added = json.loads(tokenizer.to_str())["added_tokens"]
    return frozenset(token["content"] for token in added if token["special"])


def disable_special_tokens(tokenizer: Tokenizer, special: Collection[str]) -> Tokenizer:
    """A copy that recognises none of `special` in a text; its post-processor still adds them around texts.

    `encode_special_tokens` of the tokenizers library affects added tokens only: Unigram models, and BPE models that
    look up whole words, also contain "</s>" as a piece and map the same letters to its id. So the special tokens are
    respelled randomly here, with their ids unchanged, also those in the post-processor.
    """
    description = json.loads(tokenizer.to_str())
    spelling = {token: f"\0{secrets.token_hex(16)}" for token in special}
    for token in description["added_tokens"]:
        token["content"] = spelling.get(token["content"], token["content"])
    _rename_pieces(description["model"], spelling)
    return Tokenizer.from_str(json.dumps(description))


def _rename_pieces(model: dict[str, Any], spelling: dict[str, str]) -> None:
    """Respells pieces of the vocabulary. Pieces that result from merges keep their spelling: BPE needs them."""
    made = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in model.get("merges", ())}
    spelling = {token: other for token, other in spelling.items() if token not in made}
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {spelling.get(piece, piece): number for piece, number in vocabulary.items()}
    else:
        model["vocab"] = [[spelling.get(piece, piece), score] for piece, score in vocabulary]
    if "unk_token" in model:
        model["unk_token"] = spelling.get(model["unk_token"], model["unk_token"])
