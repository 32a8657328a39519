"""Partition trees: by list, range and hash, and nested. Their leaves differ in column order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.ingest.watched_table import Connection, run


@dataclass(frozen=True, slots=True)
class Tree:
    """Table `items (region, id, title, price)`. `leaf` holds ('eu', 1), `other_leaf` holds ('us', 101).

    A partition for `free_bounds` can be created or attached; it holds `free_row` and the next higher ids.
    """

    statements: Sequence[str]
    leaf: str
    other_leaf: str
    free_bounds: str = ""
    free_row: tuple[str, int] = ("jp", 1)


TABLE = """
    create table items (region text, id integer, title text, price integer default 0, primary key (region, id))
    partition by
"""
TREES = {
    "list": Tree(
        (
            f"{TABLE} list (region)",
            "create table items_eu partition of items for values in ('eu')",
            "create table items_us partition of items for values in ('us')",
        ),
        "items_eu",
        "items_us",
        "for values in ('jp')",
    ),
    "range": Tree(
        (
            f"{TABLE} range (id)",
            "create table items_low partition of items for values from (0) to (100)",
            "create table items_high partition of items for values from (100) to (200)",
        ),
        "items_low",
        "items_high",
        "for values from (1000) to (2000)",
        ("eu", 1000),
    ),
    "nested": Tree(
        (
            f"{TABLE} list (region)",
            "create table items_eu partition of items for values in ('eu') partition by range (id)",
            "create table items_eu_low partition of items_eu for values from (0) to (100)",
            "create table items_eu_rest partition of items_eu default",
            "create table items_us partition of items for values in ('us') partition by hash (id)",
            "create table items_us_0 partition of items_us for values with (modulus 2, remainder 0)",
            "create table items_us_1 partition of items_us for values with (modulus 2, remainder 1)",
        ),
        "items_eu_low",
        "items_us",
        "for values in ('jp')",
    ),
    "hash": Tree(
        (
            f"{TABLE} hash (id)",
            "create table items_0 partition of items for values with (modulus 2, remainder 0)",
            "create table items_1 partition of items for values with (modulus 2, remainder 1)",
        ),
        "items",
        "items",
    ),
}


async def plant(db: Connection, tree: Tree) -> None:
    for statement in tree.statements:
        await run(db, statement)


async def make_attachable_table(db: Connection, name: str, *, with_target: bool) -> None:
    """Creates a table that can be attached: another column order, and a dropped column."""
    columns = "gone text, price integer, title text, id integer not null, region text not null"
    await run(db, f"create table {name} ({columns}{', embedding vector(16)' if with_target else ''})")
    await run(db, f"alter table {name} drop column gone, add primary key (region, id)")
