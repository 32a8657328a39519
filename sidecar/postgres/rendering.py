"""Fills the identifiers of a watch into SQL statements: the only place where SQL is composed from parts.

Placeholders and what they become for a table t whose key is the column `id`. Aliases follow a colon, and N numbers a
parameter. `h` is by convention the table with the vectors, which is the companion or the watched table itself:

    {events} {delayed} {ledger}  the watch's tables in our schema; {k}: their key columns, k1, k2
    {table} {companion} {vector_table}  the user's tables
    {target} {vector} {vector_bytes} {vector_send} {vector_equals}  the vector column; its type, and the type's size in
                                 bytes, output function and equality operator
    {keys:N}                     $N::text[]::bigint[], …: the key columns as parameters, from $N on
    {text_key:x} {ledger_key:x}  array[x.k1::text, x.k2::text]; x.k1, x.k2
    {key_json:x}                 jsonb_build_object('id', x.k1, …)
    {same:x,y}                   x.k1 = y.k1 and x.k2 = y.k2
    {is_row:t,x}                 t."id" = x.k1 and …
    {same_row:x,y}               x."id" = y."id" and …
    {pruned:t,N}                 and t."id" = any ($N…) where t is partitioned, else nothing
    {row_key:t} {last_first:t}   t."id", …; t."id" desc, …: to order by
    {exact_key:t}                t."id" as "id", …: the columns of a page, whose alias is p
    {cursor_key:t} {cursor:N}    t."id", …; (($N::text[])[1])::bigint, …: to compare with each other
    {row_found:t}                t."id" is not null
    {row_text_key:t}             array[t."id"::text, …]
    {after_row:t,N}              where (t."id", …) > the cursor in $N, in a page that continues; else nothing
    {after_entry:l,N}            the same for keys of the ledger
    {companion_key} {companion_values:x}  "id", …; x.k1, …: to insert into the companion
    {join_vector_table}          left join of h, where the watch has a companion
    {stored_vector} {vector_of:t}  the vector of the row, in t or h as joined before; the vector in t
    {content:t} {bytes:t} {is_blank:t}  the source as bytea; its length, without reading it where possible; whether it
                                 is nothing but blanks and punctuation
    {include:a} {include:a,b}    the statement named a; b instead, where the watch has a companion

Keys travel as text, so that every type of key works alike. A statement runs with the worker's rights, while the owner
of a table or type may change its columns and add casts at any time. So users' columns are only used through
sidecar_internal.exactly: a column that no longer has the expected type fails the statement when it is parsed, and no
cast is looked up. Types made by users are converted from and to text by their output and input functions:
sql/code/keys.sql.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from sidecar.postgres.statements import statement
from sidecar.postgres.vectors import NUMBER_BYTES, Storage

_PLAIN_TEXT = {"text", "character varying"}
SourceColumn = tuple[str, str, bool]  # name, type, whether it is padded
_PLACEHOLDER = re.compile(r"\{(\w+)(?::([\w,]+))?\}")


class Identifiers(NamedTuple):
    """The names of a watch that appear in statements. All were quoted by Postgres; types are written by format_type."""

    watch_id: int
    table: str
    companion: str | None
    key_columns: tuple[str, ...]
    key_literals: tuple[str, ...]
    key_types: tuple[str, ...]
    key_builtin: tuple[bool, ...]  # whether a type is Postgres's own; other types may have users' casts
    key_domains: tuple[str | None, ...]  # the domain of a key column of the table, if it has one over key_types
    companion_key_domains: tuple[str | None, ...]
    key_collations: tuple[str, ...]  # ' collate x' where a column of a domain has another collation than that; else ''
    companion_key_collations: tuple[str, ...]
    source: tuple[str, ...]
    source_types: tuple[str, ...]  # without modifiers; the name of a domain, not of its base type
    source_is_padded: tuple[bool, ...]  # whether it is a char(n), whose trailing blanks do not count
    target: str
    column_numbers: tuple[int, ...]  # of key and source columns, by which a renamed column is noticed
    target_number: int | None
    is_image: bool
    vector_schema: str
    dimensions: int
    storage: Storage
    is_partitioned: bool = False


@cache
def render(name: str, identifiers: Identifiers, *, continued: bool = False) -> str:
    """The named statement with all its placeholders filled in. `continued`: for a page that follows another one."""
    fill = _fragments(identifiers, continued=continued)
    return _fill(statement(name), fill)


def _fill(text: str, fill: Mapping[str, Callable[..., str]]) -> str:
    return _PLACEHOLDER.sub(lambda m: fill[m[1]](*(m[2].split(",") if m[2] else ())), text)


def _fragments(w: Identifiers, *, continued: bool) -> Mapping[str, Callable[..., str]]:
    fill = {**_names(w), **_keys(w), **_source(w), **_vector_table(w)}

    def include(in_row: str, in_companion: str | None = None) -> str:
        return _fill(statement(in_companion if w.companion and in_companion else in_row), fill)

    def after_row(t: str, n: str) -> str:
        return _fill(f"where ({{cursor_key:{t}}}) > ({{cursor:{n}}})", fill) if continued else ""

    def after_entry(ledger: str, n: str) -> str:
        return _fill(f"where ({{ledger_key:{ledger}}}) > ({{cursor:{n}}})", fill) if continued else ""

    return {**fill, "include": include, "after_row": after_row, "after_entry": after_entry}


def _vector_table(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    vector_table = w.companion or w.table
    return {
        "vector_table": lambda: vector_table,
        "stored_vector": lambda: _exactly(f"null::{_vector_type(w)}", f"{'h' if w.companion else 't'}.{w.target}"),
        "vector_of": lambda alias: _exactly(f"null::{_vector_type(w)}", f"{alias}.{w.target}"),
        "join_vector_table": lambda: (
            f"left join {vector_table} h on {_row_equals(_exact_keys(w, 'h'), 'u')}" if w.companion else ""
        ),
    }


def _names(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    return {
        "id": lambda: str(w.watch_id),
        "events": lambda: f"sidecar_internal.events_{w.watch_id}",
        "delayed": lambda: f"sidecar_internal.delayed_{w.watch_id}",
        "ledger": lambda: f"sidecar_internal.ledger_{w.watch_id}",
        "table": lambda: w.table,
        "target": lambda: w.target,
        "vector": lambda: _vector_type(w),
        "vector_schema": lambda: w.vector_schema,
        "vector_send": lambda: f"{_vector_type(w)}_send",
        "vector_equals": lambda: f"operator({w.vector_schema}.=)",
        "vector_bytes": lambda: str(w.dimensions * NUMBER_BYTES[w.storage]),
    }


def _keys(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    k = _own_key_columns(w)
    return {
        "k": lambda: ", ".join(k),
        "keys": lambda first: ", ".join(_key_parameter(w, i, f"${int(first) + i}") for i in range(len(k))),
        "text_key": lambda x: _text_array(w, [f"{x}.{c}" for c in k]),
        "same": lambda x, y: _equal(x, y, k),
        "ledger_key": lambda x: _qualified(x, k),
        "is_row": lambda t, x: _row_equals(_exact_keys(w, t), x),
        "pruned": lambda t, first: _pruned(w, t, int(first)),
        "row_key": lambda t: _qualified(t, w.key_columns),
        "exact_key": lambda t: ", ".join(
            f"{key} as {c}" for key, c in zip(_exact_keys(w, t), w.key_columns, strict=True)
        ),
        "cursor_key": lambda t: ", ".join(_exact_keys(w, t)),
        "companion_values": lambda v: ", ".join(_companion_values(w, v)),
        "last_first": lambda t: ", ".join(f"{t}.{c} desc" for c in w.key_columns),
        "same_row": lambda x, y: " and ".join(
            f"{a} = {b}" for a, b in zip(_exact_keys(w, x), _exact_keys(w, y), strict=True)
        ),
        "row_found": lambda t: f"{t}.{w.key_columns[0]} is not null",
        "row_text_key": lambda t: _text_array(w, _exact_keys(w, t)),
        "companion_key": lambda: ", ".join(w.key_columns),
        "cursor": lambda n: ", ".join(_cursor_value(w, i, f"(${n}::text[])[{i + 1}]") for i in range(len(k))),
        "key_json": lambda x: "jsonb_build_object(" + ", ".join(_json_fields(w, x, k)) + ")",
    }


def _source(w: Identifiers) -> Mapping[str, Callable[..., str]]:
    """`contents` are the source columns, read only where $3 is true, for reading a virtual column computes it;
    `taken_content` is the content composed of them.
    """
    columns = list(zip(w.source, w.source_types, w.source_is_padded, strict=True))
    taken = [(f"source{number}", type_, padded) for number, (_, type_, padded) in enumerate(columns, 1)]

    def picture(t: str) -> str:
        return _exactly(_typed_null(w.source_types[0]), f"{t}.{w.source[0]}")

    if w.is_image:
        return {
            "content": picture,
            "contents": lambda t: f"case when $3 then {picture(t)} end as source1",
            "taken_content": lambda t: f"{t}.source1",
            "bytes": lambda t: f"octet_length({picture(t)})",
            "is_blank": lambda _t: "false",
        }
    return {
        "content": lambda t: f"convert_to({_row_text(t, columns)}, 'UTF8')",
        "contents": lambda t: ", ".join(
            f"case when $3 then {t}.{name} end as {alias}"
            for (name, *_), (alias, *_) in zip(columns, taken, strict=True)
        ),
        "taken_content": lambda t: f"convert_to({_row_text(t, taken)}, 'UTF8')",
        "bytes": lambda t: _row_text_bytes(t, columns),
        "is_blank": lambda t: f"{_row_text(t, columns)} collate \"C\" !~ '[^[:space:][:punct:]]'",
    }


def _row_text(alias: str, columns: Sequence[SourceColumn]) -> str:
    """The text of a row. A single column of type text is not joined, which would copy it in memory."""
    if len(columns) == 1 and columns[0][1] in _PLAIN_TEXT:
        return f"coalesce({_text_column(alias, columns[0])}, '')"
    return f"concat_ws(' ', {', '.join(_column_text(alias, name, padded) for name, _, padded in columns)})"


def _row_text_bytes(alias: str, columns: Sequence[SourceColumn]) -> str:
    """The length of that text, known without reading columns of type text."""
    if any(type_ not in _PLAIN_TEXT for _, type_, _ in columns):
        return f"octet_length({_row_text(alias, columns)})"
    names = [_text_column(alias, column) for column in columns]
    lengths = " + ".join(f"coalesce(octet_length({name}), 0)::bigint" for name in names)
    return f"({lengths} + greatest(num_nonnulls({', '.join(names)}) - 1, 0))"


def _text_column(alias: str, column: SourceColumn) -> str:
    """A column of type text or varchar, for functions that are looked up by the type of their argument."""
    name, type_, _ = column
    return _exactly(_typed_null(type_), f"{alias}.{name}")


def _column_text(alias: str, column: str, is_padded: bool) -> str:
    """A source column for concat_ws, which calls its output function: a cast might be a user's."""
    return (
        f"case when {alias}.{column} is not null then rtrim(concat({alias}.{column}), ' ') end"
        if is_padded
        else (f"{alias}.{column}")
    )


def _vector_type(w: Identifiers) -> str:
    return f"{w.vector_schema}.{w.storage}"


def _typed_null(type_: str) -> str:
    """A NULL of the type. As an array element it is not checked by a domain, whose check would run a user's code."""
    return f"(null::{type_}[])[1]"


def _exactly(expected: str, value: str) -> str:
    """`value`, if it has the type of `expected`; else the statement fails to parse, as no cast is looked up."""
    return f"sidecar_internal.exactly({expected}, {value})"


def _exact_keys(w: Identifiers, alias: str) -> list[str]:
    """The key columns of a user's row. `h` and `c` are rows of the table with the vectors, `t` of the watched table,
    and `p` of a page, whose columns are exact already.
    """
    if alias == "p":
        return [f"p.{c}" for c in w.key_columns]
    in_companion = alias in ("h", "c") and w.companion is not None
    domains = w.companion_key_domains if in_companion else w.key_domains
    collations = w.companion_key_collations if in_companion else w.key_collations
    events = f"null::sidecar_internal.events_{w.watch_id}"
    return [
        _exactly(f"({events}).k{i}" if domain is None else _typed_null(domain), f"{alias}.{c}") + collation
        for i, (c, domain, collation) in enumerate(zip(w.key_columns, domains, collations, strict=True), 1)
    ]


def _companion_values(w: Identifiers, alias: str) -> list[str]:
    """Our keys as values for the companion. A column with a domain takes values of its base type."""
    return [
        f"{alias}.k{i}" if domain is not None else _exactly(f"(null::{w.companion}).{c}", f"{alias}.k{i}")
        for i, (c, domain) in enumerate(zip(w.key_columns, w.companion_key_domains, strict=True), 1)
    ]


def _key_parameter(w: Identifiers, index: int, parameter: str) -> str:
    """A text[] as an array of the key column's type. A user's type is converted by its input function."""
    if w.key_builtin[index]:
        return f"{parameter}::text[]::{w.key_types[index]}[]"
    keys = f"unnest({parameter}::text[]) with ordinality as x(value, n)"
    read = f"{keys} cross join lateral {_read_by_type(w, index, 'x.value')} r"
    return f"array({_select(f'r.k{index + 1}', read)} order by x.n)"


def _pruned(w: Identifiers, alias: str, first: int) -> str:
    """Repeats the condition on the keys $`first` … of a partitioned table in a form that prunes: planned with values, a
    statement locks only the partitions that hold the rows. A join alone locks every table and index of the tree.
    """
    if not w.is_partitioned or (alias == "h" and w.companion):
        return ""
    keys = zip(_exact_keys(w, alias), range(len(w.key_columns)), strict=True)
    return "".join(f" and {key} = any ({_key_parameter(w, i, f'${first + i}')})" for key, i in keys if w.key_builtin[i])


def _cursor_value(w: Identifiers, index: int, text: str) -> str:
    if w.key_builtin[index]:
        return f"({text})::{w.key_types[index]}"
    return f"({_select(f'r.k{index + 1}', f'{_read_by_type(w, index, text)} r')})"


def _select(column: str, item: str) -> str:
    return f"select {column} from {item}"  # noqa: S608 - both are made here


def _read_by_type(w: Identifiers, index: int, text: str) -> str:
    """A row with a key column read from `text` by the input function of its type."""
    return (
        f"jsonb_populate_record(null::sidecar_internal.events_{w.watch_id}, jsonb_build_object('k{index + 1}', {text}))"
    )


def _json_fields(w: Identifiers, alias: str, k: tuple[str, ...]) -> list[str]:
    """Key columns as fields of a JSON object. Users' types are passed as text: to_json would look up a cast."""
    return [
        f"{name}, {alias}.{column}" if builtin else f"{name}, concat({alias}.{column})"
        for name, column, builtin in zip(w.key_literals, k, w.key_builtin, strict=True)
    ]


def _own_key_columns(w: Identifiers) -> tuple[str, ...]:
    return tuple(f"k{i}" for i in range(1, len(w.key_columns) + 1))


def _qualified(alias: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{alias}.{c}" for c in columns)


def _text_array(w: Identifiers, keys: list[str]) -> str:
    texts = (f"{key}::text" if builtin else f"concat({key})" for key, builtin in zip(keys, w.key_builtin, strict=True))
    return "array[" + ", ".join(texts) + "]"


def _equal(x: str, y: str, columns: tuple[str, ...]) -> str:
    return " and ".join(f"{x}.{c} = {y}.{c}" for c in columns)


def _row_equals(row_keys: list[str], keys: str) -> str:
    """Compares the key of a user's row with the columns k1, k2 … of `keys`."""
    return " and ".join(f"{key} = {keys}.k{i}" for i, key in enumerate(row_keys, 1))
