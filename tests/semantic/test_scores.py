"""Texts find the pictures that they describe, measured separately for trained and held-out pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest

from sidecar.demo.emoji import Emoji
from tests.semantic.demo_model import DemoModel, Vectors
from tests.semantic.ranking import ranks, recall

Report = Callable[[str, object], None]


def test_names_of_trained_emoji_find_their_pictures(
    rows: list[Emoji], name_vectors: Vectors, picture_vectors: Vectors, record_property: Report
) -> None:
    trained = [index for index, row in enumerate(rows) if not row.held_out]
    found = ranks(name_vectors[trained], picture_vectors, [{index} for index in trained])
    at_1, at_5 = recall(found, 1), recall(found, 5)
    record_property("trained names, recall@1 and @5", (at_1, at_5))
    assert at_1 >= 0.85
    assert at_5 >= 0.97


def test_keywords_find_trained_pictures(
    model: DemoModel, rows: list[Emoji], picture_vectors: Vectors, record_property: Report
) -> None:
    relevant = _emoji_of_keywords(rows, lambda row, keyword: not row.held_out and keyword not in row.held_out_keywords)
    found = ranks(model.embed_texts(list(relevant)), picture_vectors, list(relevant.values()))
    at_10 = recall(found, 10)
    record_property("trained keywords, recall@10", at_10)
    assert at_10 >= 0.70


def test_held_out_data_is_found_far_more_often_than_by_chance(
    model: DemoModel, rows: list[Emoji], name_vectors: Vectors, picture_vectors: Vectors, record_property: Report
) -> None:
    """The figures for new data: pictures, names and queries that were not part of training."""
    unseen = [index for index, row in enumerate(rows) if row.held_out]
    names = recall(ranks(name_vectors[unseen], picture_vectors, [{index} for index in unseen]), 10)
    relevant = _emoji_of_keywords(rows, lambda row, keyword: keyword in row.held_out_keywords)
    keywords = recall(ranks(model.embed_texts(list(relevant)), picture_vectors, list(relevant.values())), 10)
    record_property("held-out names and keywords, recall@10", (names, keywords))
    by_chance = 10 / len(rows)
    assert names > 10 * by_chance
    assert keywords > 10 * by_chance


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sad cat", "crying cat"),
        ("red heart", "red heart"),
        ("slice of pizza", "pizza"),
        ("flag of japan", "flag: Japan"),
    ],
)
def test_queries_of_a_newcomer_are_answered_in_the_first_five(
    model: DemoModel, rows: list[Emoji], picture_vectors: Vectors, query: str, expected: str
) -> None:
    nearest = (picture_vectors @ model.embed_texts([query])[0]).argsort()[::-1][:5]
    assert expected in [rows[index].name for index in nearest]


def _emoji_of_keywords(rows: list[Emoji], counts: Callable[[Emoji, str], bool]) -> dict[str, set[int]]:
    relevant: defaultdict[str, set[int]] = defaultdict(set)
    for index, row in enumerate(rows):
        for keyword in row.keywords:
            if counts(row, keyword):
                relevant[keyword].add(index)
    return dict(relevant)
