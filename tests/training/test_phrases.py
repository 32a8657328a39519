from __future__ import annotations

from training.corpus import Emoji
from training.holdout import Holdout
from training.phrases import IGNORED, NEGATIVE, PARTLY, TRUE, collect_phrases, name_variants

CORPUS = (
    Emoji("1", "cat", ("pet",)),
    Emoji("2", "crying cat", ("cat", "sad", "wet pet")),
    Emoji("3", "flag: Peru", ("flag",)),
)
NOBODY = Holdout(frozenset(), frozenset())


def truths(text: str, holdout: Holdout = NOBODY) -> list[int]:
    phrases = collect_phrases(CORPUS, holdout)
    return [int(level) for level in phrases.truth[phrases.texts.index(text)]]


def test_a_name_is_true_of_its_emoji_and_partly_of_those_that_have_it_as_a_keyword() -> None:
    assert truths("cat") == [TRUE, PARTLY, NEGATIVE, NEGATIVE]


def test_a_keyword_that_is_not_a_name_is_true_of_all_emoji_with_it() -> None:
    assert truths("sad") == [NEGATIVE, TRUE, NEGATIVE, NEGATIVE]


def test_a_phrase_that_only_shares_words_is_ignored() -> None:
    assert truths("pet") == [TRUE, IGNORED, NEGATIVE, NEGATIVE]


def test_a_word_of_a_name_is_partly_true() -> None:
    assert truths("crying") == [NEGATIVE, PARTLY, NEGATIVE, NEGATIVE]


def test_the_empty_phrase_is_true_of_everything() -> None:
    assert truths("") == [TRUE] * 4


def test_a_held_out_keyword_is_not_a_phrase() -> None:
    texts = collect_phrases(CORPUS, Holdout(frozenset(), frozenset({"sad"}))).texts
    assert "sad" not in texts
    assert "crying cat" in texts


def test_a_flag_is_also_named_by_its_country() -> None:
    assert name_variants(CORPUS[2]) == ["flag peru", "flag of peru", "peru flag", "peru"]
    assert truths("peru") == [NEGATIVE, NEGATIVE, TRUE, NEGATIVE]
