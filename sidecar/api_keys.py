"""API keys: their format in settings and files, and their scopes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.errors import ConfigurationError

_SECRET = re.compile(r"[!-+\--~]{16,512}")  # printable ASCII without blank and comma


class Scope(StrEnum):
    """What a key permits."""

    EMBED = "embed"  # vectors and rerank scores of what the caller sends
    SEARCH = "search"  # rows of watched tables
    ADMIN = "admin"  # status and metrics


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key. Requests are compared with its `digest`, so that timing does not reveal how much of a guess is right."""

    secret: str = field(repr=False)
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)


def digest_of(secret: str) -> bytes:
    """The SHA-256 of a secret, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def is_valid_key(text: str) -> bool:
    """Whether `text` is a valid key: 16 to 512 printable ASCII characters without blanks and commas."""
    return _SECRET.fullmatch(text) is not None


def parse_variable(value: str) -> list[ApiKey]:
    """The keys of `API_KEYS`, separated by commas. Raises ConfigurationError, which never quotes a key."""
    return _parse("API_KEYS", "entry", value.split(","))


def parse_file(content: str) -> list[ApiKey]:
    """The keys of `API_KEYS_FILE`, one per line; blank lines and lines that begin with `#` are skipped.

    Raises ConfigurationError, which never quotes a key.
    """
    return _parse("API_KEYS_FILE", "line", ["" if line.lstrip().startswith("#") else line for line in _lines(content)])


def require_distinct(keys: Sequence[ApiKey]) -> None:
    """Raises ConfigurationError if two keys have the same secret: its scopes would be ambiguous."""
    if len({key.digest for key in keys}) < len(keys):
        raise ConfigurationError(["API_KEYS, API_KEYS_FILE: the same key appears twice; list each key once"])


def _lines(content: str) -> list[str]:
    return content.removeprefix("\N{BYTE ORDER MARK}").split("\n")


def _parse(variable: str, unit: str, entries: Iterable[str]) -> list[ApiKey]:
    numbered = [(f"{variable}: {unit} {number}", entry.strip()) for number, entry in enumerate(entries, 1)]
    keys = [_parse_entry(place, entry) for place, entry in numbered if entry]
    if not keys:
        raise ConfigurationError([f"{variable}: it contains no key"])
    require_distinct(keys)
    return keys


def _parse_entry(place: str, entry: str) -> ApiKey:
    """Parses `KEY`, or `embed+search:KEY`. `place` names the entry in errors."""
    before, colon, after = entry.partition(":")
    names, secret = (before.split("+"), after) if colon else ([scope.value for scope in Scope], entry)
    if not set(names) <= {scope.value for scope in Scope}:
        allowed = "embed, search and admin, joined by +, such as embed+search:KEY"
        raise ConfigurationError([f"{place}: only scopes may come before a colon: {allowed}"])
    if not is_valid_key(secret):
        allowed = "16 to 512 characters: letters, digits and symbols, without spaces or commas"
        raise ConfigurationError([f"{place}: a key has {allowed}"])
    return ApiKey(secret, frozenset(map(Scope, names)), digest_of(secret))
