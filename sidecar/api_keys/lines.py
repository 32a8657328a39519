"""API keys as entries: `KEY`, or the scopes that it is for and then the key, `embed+search:KEY`."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.api_keys.key import ApiKey, Scope, digest_of, is_valid_key, require_distinct
from sidecar.errors import ConfigurationError


def parse_variable(value: str) -> list[ApiKey]:
    """The keys of `API_KEYS`, separated by commas. Raises ConfigurationError, which never quotes a key."""
    return _parse("API_KEYS", "entry", value.split(","))


def parse_lines(content: str) -> list[ApiKey]:
    """The keys of a file, one per line; blank lines and lines that begin with `#` are skipped.

    Raises ConfigurationError, which never quotes a key.
    """
    lines = content.split("\n")
    return _parse("API_KEYS_FILE", "line", ["" if line.lstrip().startswith("#") else line for line in lines])


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
