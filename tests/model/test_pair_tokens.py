"""Pairs are tokenised as the tokenizers themselves would, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sidecar.model.pair_tokens import PairTokenizer

CORPUS = ["where is the red bicycle", "an old lighthouse at dusk", "it's 3.5 km — naïve café", "don't look down"] * 5
QUERIES = ["where is it", " the  café", "don't"]
DOCUMENTS = ["a red bicycle", " leading and trailing ", "", "café — 東京 🦄", "old lighthouse at dusk " * 20, "\n\t"]
MAX_TOKENS = 40


def word_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def byte_pairs() -> Tokenizer:
    """As RoBERTa's: no segments, two separators."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def sentence_pieces() -> Tokenizer:
    """As XLM-RoBERTa's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=100, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


@pytest.mark.parametrize("make", [word_pieces, byte_pairs, sentence_pieces])
def test_pairs_have_the_tokens_that_the_tokenizer_gives_them(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    pairs = PairTokenizer(tokenizer, MAX_TOKENS)
    tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
    for query in QUERIES:
        for document, pair in zip(DOCUMENTS, pairs.prepare(query, DOCUMENTS), strict=True):
            expected = tokenizer.encode(query, document)
            assert pair.token_ids.tolist() == expected.ids
            assert pair.segment_ids.tolist() == expected.type_ids
            assert pair.truncated == bool(expected.overflowing)


def test_the_tokenizer_that_it_was_made_from_stays_as_it_was() -> None:
    tokenizer = word_pieces()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=7)
    (pair,) = PairTokenizer(tokenizer, MAX_TOKENS).prepare("where is it", ["a red bicycle at dusk"])
    assert len(pair.token_ids) > 7
    assert len(tokenizer.encode("where is the red bicycle").ids) == 7


def test_many_documents_are_prepared_in_their_order() -> None:
    pairs = PairTokenizer(word_pieces(), MAX_TOKENS)
    documents = ["dusk " * (number % 9) for number in range(200)]
    together = pairs.prepare("it", documents)
    for document, pair in zip(documents, together, strict=True):
        assert pair.token_ids.tolist() == pairs.prepare("it", [document])[0].token_ids.tolist()


LONG_DOCUMENTS = [
    "an old lighthouse at dusk, it's 3.5 km — don't look down " * 2000,
    " \n" * 20_000 + "where is the red bicycle " * 50,
    "x" * 30_000,
    "bicycle" * 10_000 + " at dusk",
    "東京" * 20_000,
    "a red bicycle " * 9 + " " * 50_000,
]


@pytest.mark.parametrize("make", [word_pieces, byte_pairs, sentence_pieces])
def test_of_long_documents_the_beginning_is_tokenised_and_the_tokens_are_the_same(
    make: Callable[[], Tokenizer],
) -> None:
    tokenizer = make()
    pairs = PairTokenizer(tokenizer, MAX_TOKENS)
    (prose,) = pairs._encode(LONG_DOCUMENTS[:1], MAX_TOKENS)
    assert len(prose.ids) < 2000  # of 30,000 and more
    tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
    for document, pair in zip(LONG_DOCUMENTS, pairs.prepare("where is it", LONG_DOCUMENTS), strict=True):
        expected = tokenizer.encode("where is it", document)
        assert pair.token_ids.tolist() == expected.ids
        assert pair.truncated == bool(expected.overflowing)
