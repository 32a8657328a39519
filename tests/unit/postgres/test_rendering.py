"""Statements with the identifiers of a watch filled in."""

from __future__ import annotations

import re

import pytest

from sidecar.postgres.rendering import Identifiers, render
from sidecar.postgres.statements import statements

IN_ROW = Identifiers(
    watch_id=7,
    table="public.items",
    companion=None,
    key_columns=("id",),
    key_literals=("'id'",),
    key_types=("bigint",),
    key_builtin=(True,),
    key_domains=(None,),
    companion_key_domains=(None,),
    key_collations=("",),
    companion_key_collations=("",),
    source=("title",),
    source_types=("text",),
    source_is_padded=(False,),
    target="title_embedding",
    column_numbers=(1, 2),
    target_number=3,
    is_image=False,
    vector_schema="public",
    dimensions=16,
    storage="vector",
)
IN_COMPANION = IN_ROW._replace(companion="public.items_vectors")
PAGES = ["backfill_page", "sweep_page", "verify_page", "verify_key", "entries_page", "vectors_page", "clear_keys"]


@pytest.mark.parametrize("name", PAGES)
def test_only_a_page_that_continues_begins_after_a_cursor(name: str) -> None:
    cursor = re.compile(r"\(\$\d::text\[\]\)\[1\]")
    assert cursor.findall(render(name, IN_COMPANION)) == []
    assert len(cursor.findall(render(name, IN_COMPANION, continued=True))) == 1


def test_vectors_are_written_to_the_row_or_to_the_companion() -> None:
    in_row, in_companion = render("finish", IN_ROW), render("finish", IN_COMPANION)
    assert "update public.items t set title_embedding" in in_row
    assert "items_vectors" not in in_row
    assert "insert into public.items_vectors as c" in in_companion
    assert "update public.items " not in in_companion


@pytest.mark.parametrize("identifiers", [IN_ROW, IN_COMPANION], ids=["in row", "in companion"])
def test_no_placeholder_is_left(identifiers: Identifiers) -> None:
    for name in statements():
        assert "{" not in render(name, identifiers, continued=True).replace("'{}'", ""), name
