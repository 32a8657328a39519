"""A prefix of a long text gives the ids of the whole text."""

from __future__ import annotations

import random
import string
import time
from pathlib import Path

import pytest

from sidecar.batching.encoder import TextPrefix
from sidecar.errors import DeviceError
from sidecar.model.text.cleaning import INITIAL_CHARS, CleanedText
from sidecar.model.text.repair import repair_fragment
from sidecar.model.text.tokenizer import TextTokenizer
from tests.model.text.strange_texts import ENGLISH, FRENCH, GERMAN, RUSSIAN, load_slow, make_tokenizers
from tests.model.text.whole_texts import WholeTexts

KINDS = ["siglip", "siglip, short", "repeats", "gemma", "bert", "clip", "lower"]
ROUNDS = 6
MILLION = 1_000_000


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WholeTexts]:
    made = make_tokenizers(tmp_path_factory.mktemp("tokenizers"))
    return {name: WholeTexts(*arguments) for name, arguments in made.items()}


@pytest.fixture(scope="module")
def siglip(tokenizers: dict[str, WholeTexts]) -> WholeTexts:
    return tokenizers["siglip"]


def words(vocabulary: list[str], chars: int) -> str:
    rng = random.Random(chars)
    return " ".join(rng.choices(vocabulary, k=chars // 3))[:chars]


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_prefixes_of_strange_texts_give_the_ids_of_the_whole(
    kind: str, seed: int, tokenizers: dict[str, WholeTexts]
) -> None:
    tokenizers[kind].check_many(random.Random(f"{kind} {seed}"), 2)


NASTY = {
    "a run of blanks before the words": " " * 50_000 + "a photo of a cat",
    "a run of lines before the words": "\n" * 3_000 + "a photo of a cat",
    "punctuation before the words": "!?" * 25_000 + " a photo of a cat",
    "punctuation alone": "..." * 20_000,
    "zero-width characters": "a" + "\u200b" * 20_000 + "cat",
    "combining marks": "a" + "\u0301\u0323" * 700 + " cat " * 100,
    "one word whose split depends on its end": "a" * 20_001,
    "rubbish without a blank": "".join(random.Random(1).choices(string.ascii_letters + string.digits + "+/", k=50_000)),
    "entities of entities": "a &amp;lt; b &amp;amp;amp; " * 3_000,
    "entities, and a tag at the end": "&Atilde;&copy; &amp;amp;lt; word " * 1_000 + "<",
    "one long entity": "word &#" + "0" * 4_000 + "65; " + "word " * 1_000,
    "an escape sequence without end": "word \x1b[" + "1;" * 20_000 + "m word " * 500,
    "a wrong encoding, found at the end": "Ã  la carte " * 500 + "日本",
    "a wrong encoding throughout": words(GERMAN, 20_000).encode().decode("latin-1"),
    "final sigmas": "ΑΣ" * 10_000 + "Σ'" * 1_000,
    "a script that is not known": "猫犬" * 10_000 + " cat " * 80,
    "halves of pairs": "\ud83d\ude00 \udc00 word " * 2_000,
}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_texts_with_the_same_prefix_have_their_own_ids(text: str, tokenizers: dict[str, WholeTexts]) -> None:
    for kind in ("siglip", "repeats", "gemma", "clip"):
        tokenizers[kind].check(text)


@pytest.mark.parametrize("letters", range(64, 101, 6))
def test_a_word_too_long_to_be_split_is_unknown(letters: int, tokenizers: dict[str, WholeTexts]) -> None:
    """WordPiece maps words of more than 100 characters to unknown; the prefix of one has many pieces."""
    text = "z" * (INITIAL_CHARS - letters - 1) + "猫" + "q" * 300

    tokenizers["bert"].check(text)
    tokenizers["bert"].check_prefix(text + " and more" * 1_000, 600)


@pytest.mark.parametrize("letters", [64, 82, 100])
def test_a_word_too_long_to_be_split_is_unknown_to_tokenizers_in_python(letters: int, tmp_path: Path) -> None:
    text = "z" * (INITIAL_CHARS - letters - 1) + "-" + "q" * 300

    WholeTexts(load_slow(tmp_path / "slow"), 16).check(text)


@pytest.mark.parametrize(
    "text",
    [
        words(ENGLISH, MILLION),
        words(GERMAN, MILLION),
        words(FRENCH, MILLION),
        words(RUSSIAN, MILLION),
        words(ENGLISH, MILLION).replace(" ", "\n"),
        "Tom &amp; Jerry&nbsp;&lt;3 " * 40_000,
        "“curly” quotes – and dashes … " * 30_000,
    ],
    ids=["english", "german", "french", "russian", "short lines", "entities", "typography"],
)
def test_a_thousandth_of_a_long_text_is_read(text: str, siglip: WholeTexts, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(part: str, *, decode_entities: bool) -> str | None:
        nonlocal read
        read += len(part)
        return repair_fragment(part, decode_entities=decode_entities)

    monkeypatch.setattr("sidecar.model.text.cleaning.repair_fragment", counted)
    monkeypatch.setattr(
        "sidecar.model.text.cleaning.repair_line", lambda *_, **__: pytest.fail("a whole line was repaired")
    )
    [prepared] = siglip.ours.prepare([text])
    assert prepared.truncated
    assert read <= 4_000
    [beginning] = siglip.ours.prepare([TextPrefix(text[:5_000])])
    assert beginning.token_ids.tolist() == prepared.token_ids.tolist()
    assert not beginning.is_short


@pytest.mark.parametrize(
    "beginning",
    ["", " " * 5_000, "!" * 5_000, "a photo of a cat", "a" * 3_000, "word &amp;amp;lt; " * 20, "Ã© " * 2_000],
)
def test_a_prefix_that_does_not_determine_the_ids_is_too_short(beginning: str, siglip: WholeTexts) -> None:
    assert not siglip.check_prefix(beginning + " and more" * 1_000, len(beginning))


def test_cleaned_pieces_do_not_depend_on_where_a_text_is_split(siglip: WholeTexts) -> None:
    """What is cleaned so far is a prefix of the whole cleaned text."""
    text = "Straße &amp; Ärger, “quoted” — schöne Grüße. " * 500
    cleaned = CleanedText(text, str.upper).prefix(100_000)
    assert cleaned.is_complete
    for chars in (100, 700, 3_000, 9_000):
        beginning = CleanedText(text, str.upper).prefix(chars)
        assert cleaned.text.startswith(beginning.text)
        assert len(beginning.text) > chars / 3


def test_a_numeric_entity_of_thousands_of_digits_is_replaced(siglip: WholeTexts) -> None:
    """Python refuses to parse it, which must not fail the row or the request."""
    strange, expected = siglip.ours.prepare(["cat &#" + "9" * 5_000 + "; cat", "cat \ufffd cat"])
    assert strange.token_ids.tolist() == expected.token_ids.tolist()
    zeros, letter = siglip.ours.prepare(["c&#" + "0" * 5_000 + "97;t", "cat"])
    assert zeros.token_ids.tolist() == letter.token_ids.tolist()


@pytest.mark.parametrize(
    ("text", "unreadable"),
    [("猫", True), ("日本語 の 文", True), ("a cat", False), ("a photo of 猫", False), ("cat 猫", True), ("", False)],
)
def test_a_text_of_which_half_is_unknown_is_unreadable(text: str, unreadable: bool, siglip: WholeTexts) -> None:
    [prepared] = siglip.ours.prepare([text])
    assert prepared.unreadable is unreadable


def test_no_script_is_unreadable_to_clips_tokenizer(tokenizers: dict[str, WholeTexts]) -> None:
    [prepared] = tokenizers["clip"].ours.prepare(["猫"])
    assert not prepared.unreadable


def test_a_tokenizer_that_masks_words_at_random_gets_whole_texts(tmp_path: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    masking = SimpleTokenizer(context_length=20, reduction_mask="simple")
    [prepared] = TextTokenizer(masking, 20, 49408).prepare(["word " * 50])
    assert prepared.token_ids.shape == (20,)


def test_cleaning_a_long_text_ends_when_its_caller_is_cancelled(
    siglip: WholeTexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(10))

    def nobody_waits() -> None:
        if next(looks) == 5:
            raise DeviceError("The caller of this preparation has gone.")

    monkeypatch.setattr("sidecar.model.text.cleaning.raise_if_cancelled", nobody_waits)
    with pytest.raises(DeviceError, match="has gone"):
        siglip.ours.prepare([" " * 10_000_000])


def test_a_short_text_is_tokenised_while_a_long_one_is(siglip: WholeTexts) -> None:
    """They share no lock; otherwise a query would take as long as the longest row before it."""
    ids = siglip.ours._padded
    with ids._long._lock:
        [prepared] = siglip.ours.prepare(["a photo of a cat"])
    assert prepared.tokens == 5


def test_200_000_combining_marks_are_cleaned_in_seconds(siglip: WholeTexts) -> None:
    """Python's own normalisation takes a minute for 100,000."""
    began = time.monotonic()
    siglip.ours.prepare(["a" + "\u0301\u0323" * 100_000])
    assert time.monotonic() - began < 15
