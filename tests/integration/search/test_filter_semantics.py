"""Random filters find what the same filter finds in Python, over a table with NULLs in every column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.integration.search.shop import connect
from tests.integration.sql.session import Connection, run, value
from tests.servers import Server

ROWS: list[dict[str, Any]] = [
    {"id": n, "number": number, "word": word, "day": day, "tags": tags, "data": data}
    for n, (number, word, day, tags, data) in enumerate(
        [
            (None, None, None, None, None),
            (0, "", "2026-01-01", [], {}),
            (1, "a", "2026-01-02", ["a"], {"a": 1}),
            (2, "ab%", "2026-02-01", ["a", "b"], {"a": 1, "b": ["a", 2]}),
            (-1, "A_b", None, ["b"], ["a", 2]),
            (2, None, "2026-01-01", ["a", "a"], "a"),
            (None, "a\\", "2027-01-01", None, 2),
            (1, "_", "2026-01-02", ["%"], None),
        ]
    )
]
numbers = st.integers(-2, 3)
words = st.sampled_from(["", "a", "ab", "ab%", "A_", "%", "_", "\\", "a\\", "b", "'"])
days = st.sampled_from(["2026-01-01", "2026-01-02", "2026-02-01", "2028-12-31"])
json_values = st.sampled_from([{}, {"a": 1}, {"b": ["a"]}, {"b": []}, ["a"], [2], [], "a", 2, "b", [["a"]], {"a": {}}])

Order = Callable[[Any, Any], bool]
ORDERED: dict[str, Order] = {
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
}


def operators(values: st.SearchStrategy[Any], *, ordered: bool) -> st.SearchStrategy[Any]:
    """What may be asked of a column that is compared with `values`."""
    some = st.lists(st.none() | values, max_size=3)
    named: dict[str, st.SearchStrategy[Any]] = {
        "$eq": st.none() | values, "$ne": st.none() | values, "$in": some, "$nin": some, "$null": st.booleans(),
    }  # fmt: skip
    if ordered:
        named |= dict.fromkeys(ORDERED, values) | {"$between": st.lists(values, min_size=2, max_size=2)}
    return st.fixed_dictionaries({}, optional=named).filter(bool)


def asked(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values | st.lists(st.none() | values, max_size=3) | operators(values, ordered=True)


prefixes = st.fixed_dictionaries({"$prefix": words})
tag_lists = st.lists(words, max_size=2)
tags = st.one_of(
    st.none(),
    st.fixed_dictionaries({"$contains": tag_lists | words}),
    st.fixed_dictionaries({"$any": tag_lists}),
    st.fixed_dictionaries({"$eq": tag_lists}),
    st.fixed_dictionaries({"$ne": tag_lists}),
)
data = st.one_of(
    st.none(),
    st.fixed_dictionaries({"$contains": json_values}),
    st.fixed_dictionaries({"$any": st.lists(json_values, max_size=2)}),
    operators(json_values, ordered=False),
)
conditions = {"number": asked(numbers), "word": asked(words) | prefixes, "day": asked(days), "tags": tags, "data": data}
columns = st.fixed_dictionaries({}, optional=conditions)
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    columns,
    lambda inner: st.tuples(
        columns,
        st.fixed_dictionaries(
            {},
            optional={
                "$and": st.lists(inner, min_size=1, max_size=3),
                "$or": st.lists(inner, min_size=1, max_size=3),
                "$not": inner,
            },
        ),
    ).map(lambda parts: {**parts[0], **parts[1]}),
    max_leaves=6,
)


def meets(row: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    return all(_entry_holds(row, name, wanted) for name, wanted in condition.items())


def _entry_holds(row: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(meets(row, each) for each in wanted)
    if name == "$or":
        return any(meets(row, each) for each in wanted)
    if name == "$not":
        return not meets(row, wanted)
    if isinstance(wanted, list):
        return _holds(row[name], "$in", wanted)
    if not isinstance(wanted, dict):
        return _holds(row[name], "$eq", wanted)
    return all(_holds(row[name], operator, operand) for operator, operand in wanted.items())


def _holds(have: Any, operator: str, operand: Any) -> bool:
    if operator in NEGATED:
        return not _holds(have, NEGATED[operator], operand)
    if operator == "$in":
        return any(_holds(have, "$eq", each) for each in operand)
    if operator == "$null":
        return bool((have is None) == operand)
    if operand is None or have is None:
        return operator == "$eq" and have is operand
    return bool(OF_VALUES[operator](have, operand))


def _contains(have: Any, wanted: Any) -> bool:
    """jsonb's @>; of an array of texts, whose elements are single values, it is the same."""
    if isinstance(have, dict):
        return isinstance(wanted, dict) and all(n in have and _inside(have[n], each) for n, each in wanted.items())
    if isinstance(have, list):
        each_wanted = wanted if isinstance(wanted, list) else [] if isinstance(wanted, dict) else [wanted]
        return not isinstance(wanted, dict) and all(any(_inside(h, w) for h in have) for w in each_wanted)
    return bool(have == wanted)


def _inside(have: Any, wanted: Any) -> bool:
    """Below the top, an array no longer contains a single value."""
    if isinstance(have, list) and not isinstance(wanted, list):
        return False
    return _contains(have, wanted)


NEGATED = {"$ne": "$eq", "$nin": "$in"}
OF_VALUES: dict[str, Order] = {
    **ORDERED,
    "$eq": lambda have, operand: bool(have == operand),
    "$between": lambda have, operand: bool(operand[0] <= have <= operand[1]),
    "$prefix": lambda have, operand: bool(have.startswith(operand)),
    "$any": lambda have, operand: any(_contains(have, each) for each in operand),
    "$contains": _contains,
}


@pytest.fixture(scope="module")
def db(postgres_server: Server, migrated_template: str) -> Iterator[Connection]:
    with postgres_server.lend_database(migrated_template) as url, connect(url) as connection:
        run(
            connection,
            'create table things (id int primary key, source text, number int, word text collate "C", day date, '
            "tags text[], data jsonb)",
        )
        for row in ROWS:
            held = {**row, "data": None if row["data"] is None else Jsonb(row["data"])}
            run(connection, "insert into things values (%s, 'x', %s, %s, %s, %s, %s)", *held.values())
        exposed = "array['number', 'word', 'day', 'tags', 'data']"
        run(connection, f"select sidecar.watch('things', 'source', 'e', dimensions => 4, expose => {exposed})")
        run(connection, "set sidecar.writer = 'on'; update things set e = '[1,0,0,0]'")
        yield connection


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=filters)
@example(condition={"$not": {"number": {"$gt": 1}}})
@example(condition={"$not": {"$or": [{"word": {"$prefix": "a"}}, {"tags": {"$any": ["b"]}}]}})
def test_a_random_filter_finds_the_rows_that_meet_it_in_python(db: Connection, condition: dict[str, Any]) -> None:
    query = "select array_agg((key ->> 'id')::int) from sidecar.search_exposed('things', '{1,0,0,0}', filter => %s)"
    found = value(db, query, Jsonb(condition)) or []
    assert sorted(found) == [row["id"] for row in ROWS if meets(row, condition)]
