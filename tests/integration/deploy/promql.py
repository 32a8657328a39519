"""Parses the names in a PromQL expression: metrics, their labels, and the labels that it groups and joins by.

Everything else in an expression is left to promtool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<range>\[[^\]]*\])
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?:ms|[smhdwy])?)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|[-(){},=<>+*/%^@])
      | (?P<blank>\s+)""",
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True)
class Selector:
    """A metric with `matchers`: operator and value by label."""

    metric: str
    matchers: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Names:
    selectors: list[Selector] = field(default_factory=list)
    grouping: set[str] = field(default_factory=set)


def parse_names(expression: str) -> Names:
    """The names in `expression`. Raises ValueError if it cannot be tokenized."""
    tokens = list(_tokens(expression))
    found = Names()
    place = 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        place += 1
        if kind != "name" or text in _WORDS:
            continue
        if text in _GROUPING:
            labels, place = _labels(tokens, place)
            found.grouping.update(labels)
        elif following != "(" and following not in _GROUPING:  # else a function or an aggregation
            matchers, place = _matchers(tokens, place)
            found.selectors.append(Selector(text, matchers))
    return found


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise ValueError(f"not PromQL from {expression[place:]!r} on")
        if match.lastgroup != "blank":
            yield str(match.lastgroup), match.group()
        place = match.end()


def _labels(tokens: Sequence[tuple[str, str]], place: int) -> tuple[list[str], int]:
    if place >= len(tokens) or tokens[place][1] != "(":
        return [], place
    end = next(i for i in range(place, len(tokens)) if tokens[i][1] == ")")
    return [text for kind, text in tokens[place:end] if kind == "name"], end + 1


def _matchers(tokens: Sequence[tuple[str, str]], place: int) -> tuple[dict[str, tuple[str, str]], int]:
    if place >= len(tokens) or tokens[place][1] != "{":
        return {}, place
    end = next(i for i in range(place, len(tokens)) if tokens[i][1] == "}")
    inside = [token for token in tokens[place + 1 : end] if token[1] != ","]
    labels, operators, values = inside[::3], inside[1::3], inside[2::3]
    triples = zip(labels, operators, values, strict=True)
    return {label[1]: (operator[1], value[1][1:-1]) for label, operator, value in triples}, end + 1
