"""docs/troubleshooting.md quotes messages that the package has, and covers symptoms that tests produce."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from sidecar.cli.program import make_program
from sidecar.settings import Settings
from tests.named_tests import NAMED_TEST, ROOT, missing_tests

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SYMPTOMS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
QUOTED = [
    line.removeprefix("HINT: ")
    for block in re.findall(r"^```output\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]

_VALUE = "\x00"  # in place of what a message is filled with
_FILLED = re.compile(r"%(?:\(\w+\))?(?:\d\$)?(?:,?\.\d)?[sdgfILr]|%(?=\W|$)|\{\w*\}")
_SQL_STRING = re.compile(r"'((?:[^']|'')*)'")
_LEAST_LETTERS, _LEAST_SHARE = 8, 0.25  # of a message's own, lest "%s: %s" be everything
_SEPARATORS = re.compile(r"(?<=; )|(?<=: )")


def _python_strings() -> Iterator[str]:
    for path in (ROOT / "sidecar").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else _VALUE for part in node.values)  # type: ignore[misc]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _sql_strings() -> Iterator[str]:
    """Literals of one line, and those that go on in the next."""
    for path in (*(ROOT / "sql" / "code").glob("*.sql"), *(ROOT / "sidecar").rglob("*.sql")):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        for found in _SQL_STRING.findall(re.sub(r"(?<!')'\s*\n\s*'(?!')", "", text)):
            yield found.replace("''", "'")


@cache
def _messages() -> tuple[tuple[re.Pattern[str], int], ...]:
    """One pattern for each line of each message, and how many letters it has of its own."""
    lines = {
        _FILLED.sub(_VALUE, line).removeprefix("HINT: ").strip()
        for text in (*_python_strings(), *_sql_strings())
        for line in text.splitlines()
    }
    return tuple(
        (re.compile(".+?".join(map(re.escape, line.split(_VALUE)))), _letters(line))
        for message in lines
        for line in {message, re.sub(f"[:;] {_VALUE}$", "", message)}
        if _letters(line) >= _LEAST_LETTERS
    )


def _letters(text: str) -> int:
    return len(re.findall("[a-z]", text))


def _is_one_message(text: str) -> bool:
    least = _LEAST_SHARE * _letters(text)
    return any(own >= least and message.fullmatch(text) for message, own in _messages())


def _is_message(text: str) -> bool:
    """Whether `text` is a message, or messages joined by a colon or a semicolon."""
    if _is_one_message(text):
        return True
    for cut in _SEPARATORS.finditer(text):
        head, tail = text[: cut.start()], text[cut.start() :]
        is_head = head in {"broken: ", "denied: "} or _is_one_message(head) or _is_one_message(head.rstrip(":; "))
        if is_head and _is_message(tail):
            return True
    return False


@pytest.mark.parametrize("line", QUOTED)
def test_a_quoted_message_is_one_of_the_package(line: str) -> None:
    assert _is_message(line), f"no message of the package reads so: {line}"


def test_another_wording_is_noticed() -> None:
    assert _is_message("the schema is at 0007, this sidecar knows 0021: upgrade it soon")
    assert not _is_message("the scheme is at 0007, this sidecar knows 0021: upgrade it soon")


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_names_the_tests_that_produce_it(symptom: str) -> None:
    assert NAMED_TEST.search(SYMPTOMS[symptom])


def test_every_test_that_is_named_exists() -> None:
    assert not missing_tests(PAGE)


def test_commands_and_settings_exist() -> None:
    commands = set(re.findall(r"(?:`|^)sidecar ([a-z]+)", PAGE, re.MULTILINE))
    assert commands <= {each.callback.__name__ for each in make_program().registered_commands if each.callback}
    named = {name.lower() for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`", PAGE)}
    assert named
    assert named <= set(Settings.model_fields)
