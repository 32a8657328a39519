"""An API key, its scopes, and what it is bound to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.api_keys.bound_table import BoundTable
from sidecar.api_keys.limits import Quota, Rate
from sidecar.errors import ConfigurationError

_SECRET = re.compile(r"[!-+\--~]{16,512}")  # printable ASCII without blank and comma


class Scope(StrEnum):
    """What a key permits."""

    EMBED = "embed"  # vectors and rerank scores of what the caller sends
    SEARCH = "search"  # rows of watched tables
    ADMIN = "admin"  # status and metrics


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key. Requests are compared with its `digest`, so that timing does not reveal how much of a guess is right.

    `tables`: the only ones that it searches; None: all watched ones. `filter`: of the rows that it finds in any table,
    besides that of the table. `name` is for logs and metrics.
    """

    secret: str = field(repr=False)
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)
    name: str | None = None
    tables: tuple[BoundTable, ...] | None = None
    filter: Mapping[str, object] | None = None
    rate: Rate | None = None
    quota: Quota | None = None

    @property
    def label(self) -> str:
        """The name; empty if there is none."""
        return self.name or ""


def digest_of(secret: str) -> bytes:
    """The SHA-256 of a secret, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


def is_valid_key(text: str) -> bool:
    """Whether `text` is a valid key: 16 to 512 printable ASCII characters without blanks and commas."""
    return _SECRET.fullmatch(text) is not None


def require_distinct(keys: Sequence[ApiKey]) -> None:
    """Raises ConfigurationError if two keys have the same secret, whose meaning would be ambiguous, or name."""
    if len({key.digest for key in keys}) < len(keys):
        raise ConfigurationError(["API_KEYS, API_KEYS_FILE: the same key appears twice; list each key once"])
    names = [key.name for key in keys if key.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError([f"API_KEYS_FILE: two keys have the name '{name}'; give each one of its own"])
