from __future__ import annotations

from dataclasses import replace

from training.captions import CaptionWriter, write_captions
from training.dataset import Dataset
from training.holdout import EMOJI_SHARE, KEYWORD_SHARE, Holdout, draw_holdout
from training.phrases import Phrases

CAPTIONS_PER_EMOJI = 200


def trained(emoji_set: Dataset, holdout: Holdout) -> list[int]:
    return [index for index in range(len(emoji_set.emoji)) if index not in holdout.emoji]


def test_the_split_has_not_changed(emoji_set: Dataset, holdout: Holdout) -> None:
    """If this fails, published scores on held-out data are no longer about the same data."""
    assert {emoji_set.emoji[index].name for index in holdout.emoji} == {"red box", "yellow box", "black box"}
    assert holdout.keywords == {"sort 9", "sort 11", "sort 16", "yellow", "blue"}


def test_the_split_does_not_depend_on_the_order(emoji_set: Dataset, holdout: Holdout) -> None:
    backwards = tuple(reversed(emoji_set.emoji))
    other = draw_holdout(backwards)
    names = {emoji_set.emoji[index].name for index in holdout.emoji}
    assert {backwards[index].name for index in other.emoji} == names
    assert other.keywords == holdout.keywords


def test_shares_are_as_stated(emoji_set: Dataset, holdout: Holdout) -> None:
    keywords = {keyword for index in trained(emoji_set, holdout) for keyword in emoji_set.emoji[index].keywords}
    assert len(holdout.emoji) == round(EMOJI_SHARE * len(emoji_set.emoji))
    assert len(holdout.keywords) == round(KEYWORD_SHARE * len(keywords))
    assert holdout.keywords <= keywords


def test_a_keyword_that_is_also_a_name_is_not_held_out(emoji_set: Dataset, holdout: Holdout) -> None:
    keyword = min(holdout.keywords)
    renamed = (*emoji_set.emoji, replace(emoji_set.emoji[0], characters="new", name=keyword))
    assert keyword not in draw_holdout(renamed).keywords


def test_no_caption_is_a_held_out_keyword(emoji_set: Dataset, holdout: Holdout, phrases: Phrases) -> None:
    writer = CaptionWriter(phrases, holdout, seed=0)
    captions = write_captions(writer, trained(emoji_set, holdout), CAPTIONS_PER_EMOJI)
    bodies = {caption.body for row in captions for caption in row}
    assert len(bodies) > 100
    assert bodies.isdisjoint(holdout.keywords)
    assert holdout.keywords.isdisjoint(phrases.texts)


def test_two_phrases_never_form_a_held_out_keyword(emoji_set: Dataset, phrases: Phrases) -> None:
    joined = frozenset({"red disc shape", "red sort 0", "sort 0 red"})
    writer = CaptionWriter(phrases, Holdout(frozenset(), joined), seed=0)
    bodies = {caption.body for row in write_captions(writer, [0], 1000) for caption in row}
    assert "red calm thing" in bodies or "calm thing red" in bodies
    assert bodies.isdisjoint(joined)
