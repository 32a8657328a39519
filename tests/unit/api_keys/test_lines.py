"""The format of API keys, and the errors for malformed ones."""

from __future__ import annotations

import pytest

from sidecar.api_keys.key import ApiKey, Scope
from sidecar.api_keys.keys_file import parse_file
from sidecar.api_keys.lines import parse_variable
from sidecar.errors import ConfigurationError

ALL = frozenset(Scope)
FIRST, SECOND = "first-key-0123456", "second-key-012345"


def scopes(keys: list[ApiKey]) -> dict[str, frozenset[Scope]]:
    return {key.secret: key.scopes for key in keys}


def test_keys_are_separated_by_commas_and_have_all_scopes_by_default() -> None:
    keys = parse_variable(f" {FIRST}, embed+search:{SECOND} ,admin:a:b/c+d=e.f~g!0123,")
    assert scopes(keys) == {
        FIRST: ALL,
        SECOND: frozenset({Scope.EMBED, Scope.SEARCH}),
        "a:b/c+d=e.f~g!0123": frozenset({Scope.ADMIN}),
    }


def test_a_file_has_one_key_per_line_besides_comments() -> None:
    content = f"\N{BYTE ORDER MARK}# of the shop\r\n{FIRST}\r\n\n  # gone in May\nembed:{SECOND}"
    assert scopes(parse_file(content)) == {FIRST: ALL, SECOND: frozenset({Scope.EMBED})}


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ("fifteen-chars--", "entry 1", "16 to 512 characters"),
        (f"{FIRST},{'x' * 513}", "entry 2", "16 to 512 characters"),
        ("blank inside-0123456", "entry 1", "without spaces or commas"),
        ("tab\tinside-0123456", "entry 1", "without spaces or commas"),
        ("nön-ascii-0123456789", "entry 1", "letters, digits and symbols"),
        ("line\nfeed-0123456789", "entry 1", "without spaces or commas"),
        ("write:0123456789abcdef", "entry 1", "only scopes may come before a colon"),
        (":0123456789abcdef", "entry 1", "only scopes may come before a colon"),
        ("embed+:0123456789abcdef", "entry 1", "only scopes may come before a colon"),
        ("EMBED:0123456789abcdef", "entry 1", "only scopes may come before a colon"),
        ("embed:", "entry 1", "16 to 512 characters"),
        (" , ", "", "it contains no key"),
        (f"{FIRST},embed:{FIRST}", "", "the same key appears twice"),
    ],
)
def test_an_invalid_key_is_reported_by_position_and_not_shown(value: str, place: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_variable(value)
    (problem,) = caught.value.problems
    assert problem.startswith("API_KEYS")
    assert place in problem
    assert reason in problem
    for part in ("fifteen", "xxx", "blank inside", "inside-", "nön", "feed", "write", "0123456789abcdef", FIRST):
        assert part not in problem


def test_an_invalid_line_of_a_file_is_reported_by_number() -> None:
    with pytest.raises(ConfigurationError, match=r"^API_KEYS_FILE: line 3: a key has 16 to 512 characters"):
        parse_file(f"# keys\n{FIRST}\nshort\n")


def test_a_key_does_not_show_in_its_repr() -> None:
    (key,) = parse_variable(FIRST)
    assert FIRST not in repr(key)
    assert str(key.digest) not in repr(key)
