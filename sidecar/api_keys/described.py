"""API keys in TOML, a table `[[keys]]` each: name, scopes, tables, filters, rate and quota."""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ErrorDetails

from sidecar.api_keys.bound_table import BoundTable, parse_table_name
from sidecar.api_keys.key import ApiKey, Scope, digest_of, is_valid_key, require_distinct
from sidecar.api_keys.limits import Quota, Rate, parse_quota, parse_rate
from sidecar.errors import ConfigurationError
from sidecar.similarity import did_you_mean

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_INTEGER = 2**63 - 1
_POSITION = re.compile(r"\(at .*\)$")
_SCOPES = ", ".join(f'"{scope.value}"' for scope in Scope)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    table: str
    target: str | None = None
    filter: dict[str, Any] | None = None


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    scopes: list[str]
    name: str | None = None
    tables: list[_Table] | None = None
    filter: dict[str, Any] | None = None
    rate: str | None = None
    burst: int | None = None
    quota: str | None = None

    @field_validator("tables", mode="before")
    @classmethod
    def _expand_names(cls, tables: object) -> object:
        """`"public.products"` is short for `{ table = "public.products" }`."""
        if not isinstance(tables, list):
            return tables
        return [{"table": each} if isinstance(each, str) else each for each in tables]


class _Invalid(Exception):
    """What is wrong with a field, in the words of the error."""


def parse_described(content: str) -> list[ApiKey]:
    """The keys of a file in TOML. Raises ConfigurationError, which names key and field, and never quotes a key."""
    try:
        document = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        position = _POSITION.search(str(error))
        place = f" {position[0]}" if position else ""
        raise ConfigurationError([f"API_KEYS_FILE: it is not valid TOML{place}; texts need quotes"]) from None
    described = document.pop("keys", None)
    if document or not isinstance(described, list):
        raise ConfigurationError(
            ["API_KEYS_FILE: it has fields outside of [[keys]], the line that each key begins with"]
        )
    keys = [_parse_key(_place(number, each), each) for number, each in enumerate(described, 1)]
    require_distinct(keys)
    return keys


def _place(number: int, described: object) -> str:
    name = described.get("name") if isinstance(described, dict) else None
    named = f" ('{name}')" if isinstance(name, str) and _NAME.fullmatch(name) else ""
    return f"API_KEYS_FILE: [[keys]] number {number}{named}"


def _parse_key(place: str, described: object) -> ApiKey:
    try:
        read = _Key.model_validate(described)
        return ApiKey(
            secret=_secret(read.key),
            scopes=_scopes(read),
            digest=digest_of(read.key),
            name=_name(read.name),
            tables=_tables(read.tables),
            filter=_filter("filter", read.filter),
            rate=_rate(read),
            quota=_quota(read.quota),
        )
    except ValidationError as error:
        raise ConfigurationError([f"{place}: {_explain(error.errors(include_input=False)[0])}"]) from None
    except _Invalid as error:
        raise ConfigurationError([f"{place}: {error}"]) from None


def _explain(fault: ErrorDetails) -> str:
    names = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]]
    field = "".join(names).removeprefix(".")
    if fault["type"] == "missing":
        return f"{field} is missing"
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])
        known = list((_Table if len(fault["loc"]) > 1 else _Key).model_fields)
        if is_valid_key(name):
            return "it has a field that is not known"  # a key may stand in the wrong place
        return f"there is no field {field}.{did_you_mean(name, known)}"
    if fault["type"] == "model_type":
        return f'{field}: give a name, "public.products", or a table, {{ table = "public.products" }}'
    return f"{field}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _secret(key: str) -> str:
    if not is_valid_key(key):
        raise _Invalid("a key has 16 to 512 characters: letters, digits and symbols, without spaces or commas")
    return key


def _scopes(read: _Key) -> frozenset[Scope]:
    if not read.scopes or not set(read.scopes) <= {scope.value for scope in Scope}:
        raise _Invalid(f"scopes is a list of one or more of {_SCOPES}")
    scopes = frozenset(map(Scope, read.scopes))
    if Scope.SEARCH not in scopes and (read.tables is not None or read.filter is not None):
        raise _Invalid('tables and filter are for searches: add "search" to its scopes, or leave them out')
    return scopes


def _name(name: str | None) -> str | None:
    if name is not None and not _NAME.fullmatch(name):
        raise _Invalid("a name has 1 to 64 characters: letters, digits, dots, hyphens and underscores")
    return name


def _tables(described: list[_Table] | None) -> tuple[BoundTable, ...] | None:
    if described is None:
        return None
    if not described:
        raise _Invalid("tables is empty: name one at least, or leave it out for all watched tables")
    tables = tuple(_table(f"tables[{index}]", each) for index, each in enumerate(described))
    for index, table in enumerate(tables):
        for earlier in tables[:index]:
            if earlier.includes((table.schema, table.table), table.target or earlier.target or ""):
                raise _Invalid(f"tables[{index}] is named before: give each table, or each of its targets, once")
    return tables


def _table(field: str, described: _Table) -> BoundTable:
    parts = parse_table_name(described.table)
    if parts is None or len(parts) != 2:
        hint = "give schema and table as SQL does, such as public.products"
        raise _Invalid(f"{field}: {described.table[:200]!r} is not such a name: {hint}")
    schema, table = parts
    return BoundTable(schema, table, described.target, _filter(f"{field}.filter", described.filter))


def _filter(field: str, described: dict[str, Any] | None) -> Mapping[str, object] | None:
    if described is None:
        return None
    if not described:
        raise _Invalid(f"{field} is empty: name a column, or leave it out for all rows")
    return {name: _json_value(field, value) for name, value in described.items()}


def _json_value(field: str, value: object) -> object:
    if isinstance(value, dict):
        return {name: _json_value(f"{field}.{name}", each) for name, each in value.items()}
    if isinstance(value, list):
        return [_json_value(field, each) for each in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, str) and "\0" in value:
        raise _Invalid(f"{field} contains the character NUL, which Postgres does not store")
    if isinstance(value, float) and not math.isfinite(value):
        raise _Invalid(f"{field} is not finite")
    if isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        raise _Invalid(f"{field} is too large for a number: write it as a text")
    return value


def _rate(read: _Key) -> Rate | None:
    if read.rate is None:
        if read.burst is not None:
            raise _Invalid("burst goes with rate, which is missing")
        return None
    if read.burst is not None and not 1 <= read.burst <= 10**9:
        raise _Invalid(f"burst is {read.burst}; at least 1")
    rate = parse_rate(read.rate, read.burst)
    if rate is None:
        raise _Invalid(f"rate is {read.rate[:40]!r}; write 10/second, 600/minute or 5000/hour")
    return rate


def _quota(text: str | None) -> Quota | None:
    if text is None:
        return None
    quota = parse_quota(text)
    if quota is None:
        raise _Invalid(f"quota is {text[:40]!r}; write it as 5000/day")
    return quota
