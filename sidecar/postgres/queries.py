"""The named statements of queries.sql, and the one function that fills in a watch's identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{(\w+)(?::([\w,]+))?\}")


class Identifiers(NamedTuple):
    """What a statement needs to know of a watch. Every string was quoted by Postgres; types are format_type's."""

    watch_id: int
    table: str
    companion: str | None
    key_columns: tuple[str, ...]
    key_literals: tuple[str, ...]
    key_types: tuple[str, ...]
    source: tuple[str, ...]
    target: str
    column_numbers: tuple[int, ...]  # of key and source; a name may be another column's by now
    target_number: int | None
    is_image: bool
    vector_schema: str
    dimensions: int


@cache
def statements() -> Mapping[str, str]:
    """Name → statement, as written."""
    text = files("sidecar.postgres").joinpath("queries.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def statement(name: str) -> str:
    """A statement without identifiers of a watch."""
    return statements()[name]


@cache
def render(name: str, identifiers: Identifiers) -> str:
    """The statement with the watch's identifiers in it: the only place where SQL is put together from parts."""
    fill = _fragments(identifiers)
    return _PLACEHOLDER.sub(lambda m: fill[m[1]](*(m[2].split(",") if m[2] else ())), statements()[name])


def _fragments(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    home = w.companion or w.table
    return {
        **_names(w),
        **_keys(w),
        **_source(w),
        "home": lambda: home,
        "home_target": lambda: f"h.{w.target}" if w.companion else f"t.{w.target}",
        "join_home": lambda: f"left join {home} h on {_pairs('h', w.key_columns, 'u')}" if w.companion else "",
    }


def _names(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    return {
        "id": lambda: str(w.watch_id),
        "events": lambda: f"sidecar.events_{w.watch_id}",
        "delayed": lambda: f"sidecar.delayed_{w.watch_id}",
        "ledger": lambda: f"sidecar.ledger_{w.watch_id}",
        "table": lambda: w.table,
        "target": lambda: w.target,
        "vector": lambda: f"{w.vector_schema}.vector",
        "vector_send": lambda: f"{w.vector_schema}.vector_send",
        "vector_equals": lambda: f"operator({w.vector_schema}.=)",
        "vector_bytes": lambda: str(4 * w.dimensions),
    }


def _keys(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    k = _k_names(w)
    return {
        "k": lambda: ", ".join(k),
        "keys": lambda first: ", ".join(f"${int(first) + i}::text[]::{t}[]" for i, t in enumerate(w.key_types)),
        "text_key": lambda x: _text_array(x, k),
        "same": lambda x, y: _equal(x, y, k),
        "ledger_key": lambda x: _list(x, k),
        "is_row": lambda t, x: _pairs(t, w.key_columns, x),
        "row_key": lambda t: _list(t, w.key_columns),
        "last_first": lambda t: ", ".join(f"{t}.{c} desc" for c in w.key_columns),
        "same_row": lambda x, y: _equal(x, y, w.key_columns),
        "row_found": lambda t: f"{t}.{w.key_columns[0]} is not null",
        "row_text_key": lambda t: _text_array(t, w.key_columns),
        "companion_key": lambda: ", ".join(w.key_columns),
        "cursor": lambda n: ", ".join(f"((${n}::text[])[{i}])::{t}" for i, t in enumerate(w.key_types, 1)),
        "key_json": lambda x: (
            "jsonb_build_object(" + ", ".join(f"{n}, {x}.{c}" for n, c in zip(w.key_literals, k, strict=True)) + ")"
        ),
    }


def _source(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    def joined(t: str) -> str:
        return f"concat_ws(' ', {', '.join(f'{t}.{c}::text' for c in w.source)})"

    if w.is_image:
        return {
            "content": lambda t: f"{t}.{w.source[0]}",
            "bytes": lambda t: f"octet_length({t}.{w.source[0]})",
            "is_blank": lambda _t: "false",
        }
    return {
        "content": lambda t: f"convert_to({joined(t)}, 'UTF8')",
        "bytes": lambda t: f"octet_length({joined(t)})",
        "is_blank": lambda t: f"{joined(t)} collate \"C\" !~ '[^[:space:][:punct:]]'",
    }


def _k_names(w: Identifiers) -> tuple[str, ...]:
    return tuple(f"k{i}" for i in range(1, len(w.key_columns) + 1))


def _list(alias: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{alias}.{c}" for c in columns)


def _text_array(alias: str, columns: tuple[str, ...]) -> str:
    return "array[" + ", ".join(f"{alias}.{c}::text" for c in columns) + "]"


def _equal(x: str, y: str, columns: tuple[str, ...]) -> str:
    return " and ".join(f"{x}.{c} = {y}.{c}" for c in columns)


def _pairs(table: str, columns: tuple[str, ...], keys: str) -> str:
    """`table` has the user's column names, `keys` has k1, k2 …"""
    return " and ".join(f"{table}.{c} = {keys}.k{i}" for i, c in enumerate(columns, 1))
