"""Wrong usage, told in the style of all errors: what is wrong with the command line, and what to type."""

from __future__ import annotations

import re
import sys
from shlex import quote
from typing import Any

from sidecar.error_lines import Problem

_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)\.?", re.DOTALL)
_DID_YOU_MEAN = re.compile(r"(.*?)[.:]? (Did you mean '[^']*').*", re.DOTALL)  # the likeliest comes first
_INVALID = re.compile(r"Invalid value(?: for (.+?))?: (?:Value error, )?(.*)", re.DOTALL)
_TAKES_A_QUERY = "search"


def describe_usage_error(error: Any) -> Problem:
    """`error` is a ClickException of typer: what does not exist, is missing, or is one too many."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).strip()
    command = _typed_command() if context is None else str(context.command_path)
    help_hint = f"{command} --help shows {'the commands' if command == 'sidecar' else 'how it is used'}."
    if (possibilities := getattr(error, "possibilities", None)) and (option := getattr(error, "option_name", None)):
        return Problem(f"{command} has no option {option}", f"Did you mean {' or '.join(sorted(possibilities))}?")
    if option := getattr(error, "option_name", None):
        if message.startswith("No such option"):
            return Problem(f"{command} has no option {option}", help_hint)
    elif extra := _EXTRA.fullmatch(message):
        return Problem(f"{command}: unexpected {extra[1]!r}", _extra_hint(context, extra[1]) or help_hint)
    elif invalid := _INVALID.fullmatch(message):
        where = f"{invalid[1].replace(chr(39), '')}: " if invalid[1] else ""
        return Problem(f"{where}{_in_plain_words(invalid[2])}", help_hint)
    if meant := _DID_YOU_MEAN.fullmatch(message):
        return Problem(_as_clause(meant[1]), f"{meant[2]}?")
    return Problem(f"{command}: {_as_clause(message)}", help_hint)


def _extra_hint(context: Any, extra: str) -> str | None:
    """How to write a query of several words; None for other commands."""
    if context is None or context.info_name != _TAKES_A_QUERY:
        return None
    table, first = context.params.get("table"), context.params.get("query")
    if table is None or first is None:
        return "Put the query in quotes: sidecar search TABLE 'sad cat'"
    return f"Put the query in quotes: sidecar search {quote(table)} {quote(f'{first} {extra}')}"


def _typed_command() -> str:
    """The command as typed, for errors of the parser, which knows no context."""
    first = sys.argv[1] if len(sys.argv) > 1 else "-"
    return "sidecar" if first.startswith("-") else f"sidecar {first}"


def _in_plain_words(reason: str) -> str:
    """Without the words of pydantic, which checks the values."""
    reason = reason.partition(", unable to parse")[0].rstrip(".")
    return reason.replace("Input should be", "it has to be").replace("a valid integer", "a whole number")


def _as_clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
