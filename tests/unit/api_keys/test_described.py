"""The TOML of `API_KEYS_FILE`, and the errors for what is wrong in it."""

from __future__ import annotations

import pytest

from sidecar.api_keys.bound_table import BoundTable, parse_table_name
from sidecar.api_keys.key import Scope
from sidecar.api_keys.keys_file import parse_file
from sidecar.api_keys.limits import Quota, Rate
from sidecar.errors import ConfigurationError

KEY = "front-end-0123456789"

EVERYTHING = f"""
# The shop.
[[keys]]
name = "front-end"
key = "{KEY}"
scopes = ["search"]
filter = {{ tenant_id = 7, since = 2026-11-23, tags = {{ "$any" = ["a"] }} }}
rate = "10/second"
burst = 20
quota = "5000/day"
tables = [
    "public.Products",
    {{ table = 'shop."Odd name"', target = "photo_embedding", filter = {{ published = true }} }},
]

[[keys]]
key = "operator-0123456789"
scopes = ["embed", "admin"]
"""


def test_a_key_has_tables_filters_rate_and_quota() -> None:
    shop, operator = parse_file(EVERYTHING)
    assert (shop.secret, shop.name, shop.scopes) == (KEY, "front-end", frozenset({Scope.SEARCH}))
    assert shop.filter == {"tenant_id": 7, "since": "2026-11-23", "tags": {"$any": ["a"]}}
    assert shop.tables == (
        BoundTable("public", "products"),
        BoundTable("shop", "Odd name", "photo_embedding", {"published": True}),
    )
    assert shop.rate == Rate(10, "second", 20)
    assert shop.quota == Quota(5000)
    assert operator.scopes == {Scope.EMBED, Scope.ADMIN}
    assert (operator.name, operator.tables, operator.filter, operator.rate, operator.quota) == (None,) * 5


@pytest.mark.parametrize("before", ["", "\N{BYTE ORDER MARK}", "# a comment\r\n  "])
def test_the_first_key_makes_a_file_toml(before: str) -> None:
    (key,) = parse_file(f'{before}[[ keys ]]  # one\r\nkey = "{KEY}"\r\nscopes = ["embed"]\r\n')
    assert key.secret == KEY


def test_a_key_that_looks_like_toml_is_still_a_line() -> None:
    assert [key.secret for key in parse_file("[[keys]]#0123456789\nembed:[[keys]]0123456789")] == [
        "[[keys]]#0123456789",
        "[[keys]]0123456789",
    ]


@pytest.mark.parametrize(
    ("rate", "burst", "per_second", "at_once", "text"),
    [
        ("10/second", "", 10, 10, "10 requests per second"),
        ("90 / minute", "burst = 5", 1.5, 5, "90 requests per minute, 5 at once"),
        ("3600/hour", "burst = 1", 1, 1, "3600 requests per hour, 1 at once"),
    ],
)
def test_a_rate_has_a_unit_and_a_burst(rate: str, burst: str, per_second: float, at_once: int, text: str) -> None:
    (key,) = parse_file(f'[[keys]]\nkey = "{KEY}"\nscopes = ["embed"]\nrate = "{rate}"\n{burst}\n')
    assert key.rate is not None
    assert (key.rate.per_second, key.rate.burst, str(key.rate)) == (per_second, at_once, text)


# Lines added to a valid key, and what the error says after the place of the key.
_INVALID = [
    ('rates = "1/second"', "there is no field rates. Did you mean rate?"),
    ('rate = "10"', "rate is '10'; write 10/second, 600/minute or 5000/hour"),
    ('rate = "0/second"', "rate is '0/second'; write"),
    ("rate = 10", "rate: input should be a valid string"),
    ('rate = "1/second"\nburst = 0', "burst is 0; at least 1"),
    ("burst = 3", "burst goes with rate, which is missing"),
    ('quota = "5000"', "quota is '5000'; write it as 5000/day"),
    ('name = "a b"', "a name has 1 to 64 characters"),
    ("tables = []", "tables is empty: name one at least, or leave it out for all watched tables"),
    ('tables = "public.products"', "tables: input should be a valid list"),
    ("tables = [1]", 'tables[0]: give a name, "public.products", or a table, { table = "public.products" }'),
    ('tables = ["products"]', "tables[0]: 'products' is not such a name: give schema and table as SQL does"),
    ('tables = ["a.b.c"]', "tables[0]: 'a.b.c' is not such a name"),
    ('tables = ["a.b", "a.B"]', "tables[1] is named before"),
    ('tables = ["a.b", {table = "a.b", target = "e"}]', "tables[1] is named before"),
    ('tables = [{table = "a.b", filters = {}}]', "there is no field tables[0].filters. Did you mean filter?"),
    ('tables = [{table = "a.b", filter = {}}]', "tables[0].filter is empty"),
    ("filter = {}", "filter is empty: name a column, or leave it out for all rows"),
    ("filter = 7", "filter: input should be a valid dictionary"),
    ("filter = { price = nan }", "filter is not finite"),
    ("filter = { id = 99999999999999999999 }", "filter is too large for a number: write it as a text"),
    ('filter = { name = "a\\u0000" }', "filter contains the character NUL"),
]


@pytest.mark.parametrize(("lines", "message"), _INVALID)
def test_what_is_wrong_with_a_key_is_said_with_its_name_and_field(lines: str, message: str) -> None:
    name = "" if lines.startswith("name") else 'name = "shop"\n'
    problem = _problem_of(f'[[keys]]\n{name}key = "{KEY}"\nscopes = ["search"]\n{lines}\n')
    place = "API_KEYS_FILE: [[keys]] number 1" + (" ('shop')" if name else "")
    assert problem.startswith(f"{place}: {message}"), problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[[keys]]\nkey = "short"\nscopes = ["embed"]', "a key has 16 to 512 characters"),
        (f'[[keys]]\nkey = "{KEY}"', "scopes is missing"),
        ('[[keys]]\nscopes = ["embed"]', "key is missing"),
        (f'[[keys]]\nkey = "{KEY}"\nscopes = []', 'scopes is a list of one or more of "embed", "search", "admin"'),
        (f'[[keys]]\nkey = "{KEY}"\nscopes = ["write"]', 'scopes is a list of one or more of "embed"'),
        (f'[[keys]]\nkey = "{KEY}"\nscopes = ["embed"]\ntables = ["a.b"]', "tables and filter are for searches"),
        (f'[[keys]]\n{KEY} = "embed"', "key is missing"),
        (f"[[keys]]\nkey = {KEY}", "it is not valid TOML (at line 2, column 7)"),
        (f'key = "{KEY}"\n[[keys]]\n', "it has fields outside of [[keys]]"),
        (f'[[keys]]\nkey = "{KEY}"\nscopes = ["embed"]\n' * 2, "the same key appears twice"),
        (
            "\n".join(f'[[keys]]\nname = "a"\nkey = "{KEY}{n}"\nscopes = ["embed"]' for n in range(2)),
            "two keys have the name 'a'",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_explained_and_not_quoted(content: str, message: str) -> None:
    problem = _problem_of(content)
    assert message in problem
    assert KEY not in problem
    assert "short" not in problem


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Products", ("products",)),
        (' "Odd ""name""" . e$1 ', ('Odd "name"', "e$1")),
        ("straße.ÄB", ("straße", "Äb")),
        ("", None),
        ("a b", None),
        ('a."', None),
        ("a.b.c", None),
        ("1a", None),
    ],
)
def test_names_of_tables_are_read_as_sql_does(text: str, parts: tuple[str, ...] | None) -> None:
    assert parse_table_name(text) == parts


def _problem_of(content: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_file(content)
    (problem,) = caught.value.problems
    return problem
