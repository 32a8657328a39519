"""The reference of schema `sidecar`, from the catalogue of a migrated database and its comments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg.rows import class_row

from docsite.markdown import escape, table

_HEAD = """\
# SQL reference

Written by `make docs` from the catalogue of a database after `sidecar migrate`; psql shows the same comments
(`\\df+ sidecar.*`, `\\dv+ sidecar.*`). How the functions are used, and what they raise: [SQL](../sql.md) and
[SQL cook-book](../cookbook.md); who may call them: [Roles](../roles.md). Schema `sidecar_internal` holds the rest,
which may change with any version.

Arguments may be named, as in `sidecar.pause(target => 'title_embedding')`; those with a default may be left out.
"""
_LINE = 88
_ROUTINES = """
select p.oid::int as oid, p.proname as name, p.prokind = 'p' as is_procedure,
       coalesce(pg_get_function_result(p.oid), '') as result,
       coalesce(obj_description(p.oid, 'pg_proc'), '') as comment
from pg_proc p
where p.pronamespace = 'sidecar'::regnamespace
order by p.proname, p.oid
"""
# One row per argument: its name, its type, and its default as SQL. Columns of a result that is a table are none.
_ARGUMENTS = """
select case argument.mode when 'o' then 'out ' else '' end || argument.name as name,
       format_type(argument.type, null) as type,
       coalesce(pg_get_function_arg_default(p.oid, argument.position::int), '') as default
from pg_proc p,
     unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
         with ordinality as argument (type, name, mode, position)
where p.oid = %s and coalesce(argument.mode, 'i') in ('i', 'v', 'b', 'o')
order by argument.position
"""
_VIEWS = """
select c.oid::int as oid, c.relname as name, coalesce(obj_description(c.oid, 'pg_class'), '') as comment
from pg_class c
where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'v'
order by c.relname
"""
_COLUMNS = """
select attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '')
from pg_attribute
where attrelid = %s and attnum > 0 and not attisdropped
order by attnum
"""


@dataclass(frozen=True, slots=True)
class _Routine:
    oid: int
    name: str
    is_procedure: bool
    result: str
    comment: str


@dataclass(frozen=True, slots=True)
class _View:
    oid: int
    name: str
    comment: str


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    type: str
    default: str


def sql_page(database_url: str) -> str:
    """All of docs/reference/sql.md, from a database after `sidecar migrate`."""
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path = public")
        routines = connection.cursor(row_factory=class_row(_Routine)).execute(_ROUTINES).fetchall()
        views = connection.cursor(row_factory=class_row(_View)).execute(_VIEWS).fetchall()
        by_name = {name: list(of_name) for name, of_name in groupby(routines, key=lambda each: each.name)}
        contents = table(["Function or procedure", ""], [_entry(name, of_name) for name, of_name in by_name.items()])
        contents_of_views = table(["View", ""], [_entry(view.name, [view]) for view in views])
        parts = [
            _HEAD,
            contents,
            contents_of_views,
            *(_routine_section(connection, name, of_name) for name, of_name in by_name.items()),
            *(_view_section(connection, view) for view in views),
        ]
        return "\n".join(parts)


def _entry(name: str, objects: Iterable[_Routine | _View]) -> list[str]:
    comment = next((each.comment for each in objects if each.comment), "")
    first_sentence = re.split(r"(?<=\.)\s", comment, maxsplit=1)[0]
    return [f"[`sidecar.{name}`](#sidecar{name})", escape(first_sentence)]


def _routine_section(connection: psycopg.Connection, name: str, overloads: list[_Routine]) -> str:
    """A heading, and for each signature its SQL; then what all of them say."""
    signatures = [f"```sql\n{_signature(connection, routine)}\n```\n" for routine in overloads]
    comments = dict.fromkeys(_paragraphs(routine.comment) for routine in overloads if routine.comment)
    return "\n".join([f"## `sidecar.{name}`\n", *signatures, *comments])


def _signature(connection: psycopg.Connection, routine: _Routine) -> str:
    """On one line where it fits there, else an argument a line."""
    cursor = connection.cursor(row_factory=class_row(_Argument))
    arguments = [_in_words(each) for each in cursor.execute(_ARGUMENTS, [routine.oid])]
    head = f"{'procedure' if routine.is_procedure else 'function'} sidecar.{routine.name}"
    result = "" if routine.is_procedure else f" returns {_short(routine.result)}"
    line = f"{head}({', '.join(arguments)}){result}"
    if len(line) <= _LINE:
        return line
    listed = ",\n".join(f"    {argument}" for argument in arguments)
    return f"{head}(\n{listed}\n){result}"


def _in_words(argument: _Argument) -> str:
    default = f" default {_short(argument.default)}" if argument.default else ""
    return f"{argument.name} {_short(argument.type)}{default}"


def _short(sql: str) -> str:
    """SQL of the catalogue as people write it."""
    literal = re.sub(r"('[^']*'|NULL)::[\w ]+(\[\])?", r"\1", sql)
    return literal.replace("NULL", "null").replace("TABLE(", "table (").replace("SETOF", "setof")


def _view_section(connection: psycopg.Connection, view: _View) -> str:
    columns = connection.execute(_COLUMNS, [view.oid])
    rows = [[f"`{name}`", f"`{kind}`", escape(comment)] for name, kind, comment in columns]
    parts = [f"## `sidecar.{view.name}`\n", *([_paragraphs(view.comment)] if view.comment else [])]
    return "\n".join([*parts, table(["Column", "Type", ""], rows)])


def _paragraphs(comment: str) -> str:
    return "\n".join(escape(" ".join(paragraph.split())) + "\n" for paragraph in comment.split("\n\n"))
