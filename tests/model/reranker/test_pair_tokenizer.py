"""Pairs have the tokens that the tokenizer itself gives, for every kind of tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sidecar.model.reranker.pair_tokenizer import PairTokenizer

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
    """Like RoBERTa's: no segments, two separators."""
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
    """Like XLM-RoBERTa's."""
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


MARKS = ["[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>"]


def sentence_pieces_with_a_mask() -> Tokenizer:
    """`<mask>` includes the blank before it; `</s>` is also a piece of the vocabulary, with the highest score."""
    tokenizer = sentence_pieces()
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return tokenizer


def words_looked_up_whole() -> Tokenizer:
    """Like Llama's: a word in the vocabulary is not merged from its letters."""
    description = json.loads(byte_pairs().to_str())
    description["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(description))


KINDS = [word_pieces, byte_pairs, sentence_pieces, sentence_pieces_with_a_mask, words_looked_up_whole]


@pytest.mark.parametrize("make", KINDS)
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


def test_the_original_tokenizer_is_unchanged() -> None:
    tokenizer = word_pieces()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=7)
    (pair,) = PairTokenizer(tokenizer, MAX_TOKENS).prepare("where is it", ["a red bicycle at dusk"])
    assert len(pair.token_ids) > 7
    assert len(tokenizer.encode("where is the red bicycle").ids) == 7


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("around", ["{}", "dusk {} at", "dusk{}at", " {} ", "{}{}", "＜／s＞ {}"])
def test_a_special_token_inside_a_query_or_a_document_is_text(
    make: Callable[[], Tokenizer], mark: str, around: str
) -> None:
    tokenizer = make()
    special = {tokenizer.token_to_id(token) for token in MARKS} - {None, tokenizer.token_to_id("<unk>")}
    special -= {tokenizer.token_to_id("[UNK]")}  # a letter not in the vocabulary is unknown
    pairs = PairTokenizer(tokenizer, MAX_TOKENS)
    text = around.replace("{}", mark)
    (harmless,) = pairs.prepare("dusk", ["at"])
    for query, document in (("dusk", text), (text, "at")):
        (pair,) = pairs.prepare(query, [document])
        marks = [token for token in pair.token_ids.tolist() if token in special]
        assert marks == [token for token in harmless.token_ids.tolist() if token in special]


def test_the_letters_of_a_special_token_are_tokenised_as_any_others() -> None:
    """Including the unknown token, with a vocabulary of letters, so that any lost text shows."""
    pairs = PairTokenizer(byte_pairs(), MAX_TOKENS)
    plain = byte_pairs()
    plain.encode_special_tokens = True
    for text in ("a</s>b", "<unk> <s>", "dusk </s></s> at"):
        (pair,) = pairs.prepare("it", [text])
        assert pair.token_ids.tolist()[-1 - len(plain.encode(text, add_special_tokens=False).ids) : -1] == (
            plain.encode(text, add_special_tokens=False).ids
        )


def test_a_special_token_named_only_in_the_models_settings_is_text_too() -> None:
    tokenizer = word_pieces()
    tokenizer.add_tokens(["<turn>"])
    turn = tokenizer.token_to_id("<turn>")
    (pair,) = PairTokenizer(tokenizer, MAX_TOKENS).prepare("it", ["a <turn> b"])
    assert turn in pair.token_ids
    (pair,) = PairTokenizer(tokenizer, MAX_TOKENS, special=["<turn>"]).prepare("it", ["a <turn> b"])
    assert turn not in pair.token_ids


def test_special_tokens_of_a_prompt_keep_their_meaning() -> None:
    tokenizer = byte_pairs()
    separator = tokenizer.token_to_id("</s>")
    (pair,) = PairTokenizer(tokenizer, MAX_TOKENS, "rank</s>").prepare("it</s>", ["a dusk"])
    (plain,) = PairTokenizer(tokenizer, MAX_TOKENS, "rank").prepare("it", ["a dusk"])
    assert pair.token_ids.tolist().count(separator) == plain.token_ids.tolist().count(separator) + 1
    assert pair.token_ids.tolist()[0 : 1 + len("rank</s>")].count(separator) == 1


def test_many_documents_are_prepared_in_order() -> None:
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
def test_a_prefix_of_a_long_document_gives_the_same_tokens(
    make: Callable[[], Tokenizer],
) -> None:
    tokenizer = make()
    pairs = PairTokenizer(tokenizer, MAX_TOKENS)
    (prose,) = pairs._encode(LONG_DOCUMENTS[:1], MAX_TOKENS)
    assert len(prose.ids) < 2000  # of more than 30,000
    tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
    for document, pair in zip(LONG_DOCUMENTS, pairs.prepare("where is it", LONG_DOCUMENTS), strict=True):
        expected = tokenizer.encode("where is it", document)
        assert pair.token_ids.tolist() == expected.ids
        assert pair.truncated == bool(expected.overflowing)


@pytest.mark.parametrize("letters", range(70, 100, 6))
def test_a_word_too_long_to_be_split_is_unknown(letters: int) -> None:
    """WordPiece maps words of more than 100 characters to unknown; the prefix of such a word may be shorter."""
    tokenizer = word_pieces()
    pairs = PairTokenizer(tokenizer, 400)
    room, known = 10, tokenizer.encode("z " * 5, add_special_tokens=False).ids
    chars = (room + 64) * 16

    document = "z " * 5 + "z" * (chars - 11 - letters) + "-" + "d" * 300

    [pair] = pairs.prepare("a", [document], room)
    expected = tokenizer.encode(document, add_special_tokens=False).ids
    assert expected[: len(known)] == known
    assert pair.token_ids.tolist() == [2, *tokenizer.encode("a", add_special_tokens=False).ids, 3, *expected[:room], 3]
