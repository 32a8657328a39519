"""`op.sidecar_watch` and `op.sidecar_unwatch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from alembic.operations import MigrateOperation, Operations
from alembic.util import CommandError
from sqlalchemy import ARRAY, TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import String, TypeEngine

from sidecar.alembic.watch import Watch, WatchOptions
from sidecar.errors import SchemaError

_NO_SUCH_SCHEMA = "3F000"
_NO_SUCH_FUNCTION = "42883"


class SidecarMissing(SchemaError, CommandError):
    """The database has no schema `sidecar`, or an older version of it. Printed as one line by Alembic's CLI."""


@Operations.register_operation("sidecar_watch")
class WatchOp(MigrateOperation):
    """Starts or changes a watch. `former` is the watch that a change replaces, if known; the reverse operation restores
    it.
    """

    def __init__(self, watch: Watch, *, replace: bool = False, former: Watch | None = None) -> None:
        self.watch = watch
        self.replace = replace
        self.former = former

    @classmethod
    def sidecar_watch(
        cls,
        operations: Operations,
        relation: str,
        source: str | Sequence[str],
        *,
        replace: bool = False,
        **options: Unpack[WatchOptions],
    ) -> None:
        """Calls sidecar.watch in the migration's transaction. Raises SidecarMissing.

        `relation`, `source`, `target` and `schema` are plain names, as everywhere in Alembic.
        """
        operations.invoke(cls(Watch.of(relation, source, options), replace=replace))

    def reverse(self) -> MigrateOperation:
        """The reverse operation, which keeps the vectors. Raises ValueError for a change without a known former one."""
        if not self.replace:
            return UnwatchOp(self.watch.relation, self.watch.target, schema=self.watch.schema, existing=self.watch)
        if self.former is None:
            raise ValueError(f"cannot reverse the change of the watch on {self.watch.relation!r}: give what was before")
        return WatchOp(self.former, replace=True, former=self.watch)

    def to_diff_tuple(self) -> tuple[str, Watch]:
        return ("sidecar_watch", self.watch)


@Operations.register_operation("sidecar_unwatch")
class UnwatchOp(MigrateOperation):
    """Ends a watch. `existing` is the watch that ends, which reversing starts again."""

    def __init__(
        self,
        relation: str,
        target: str | None = None,
        *,
        drop_target: bool = False,
        schema: str | None = None,
        existing: Watch | None = None,
    ) -> None:
        self.relation = relation
        self.target = target
        self.drop_target = drop_target
        self.schema = schema
        self.existing = existing

    @classmethod
    def sidecar_unwatch(
        cls,
        operations: Operations,
        relation: str,
        target: str | None = None,
        *,
        drop_target: bool = False,
        schema: str | None = None,
    ) -> None:
        """Calls sidecar.unwatch in the migration's transaction. Keeps the vectors unless `drop_target`.

        `target` may be left out where the table has one watch. Raises SidecarMissing.
        """
        operations.invoke(cls(relation, target, drop_target=drop_target, schema=schema))

    def reverse(self) -> WatchOp:
        """The operation that starts the watch again. Raises ValueError if it is unknown."""
        if self.existing is None:
            raise ValueError(f"cannot reverse the end of the watch on {self.relation!r}: give it as `existing`")
        return WatchOp(self.existing)

    def to_diff_tuple(self) -> tuple[str, str | None, str, str | None]:
        return ("sidecar_unwatch", self.schema, self.relation, self.target)


@Operations.implementation_for(WatchOp)
def _watch(operations: Operations, operation: WatchOp) -> None:
    watch = operation.watch
    arguments = watch.call | ({"replace": True} if operation.replace else {})
    _call(operations, "sidecar.watch", _quoted(operations, watch.schema, watch.relation), arguments)


@Operations.implementation_for(UnwatchOp)
def _unwatch(operations: Operations, operation: UnwatchOp) -> None:
    arguments: dict[str, Any] = {} if operation.target is None else {"target": operation.target}
    arguments |= {"drop_target": True} if operation.drop_target else {}
    _call(operations, "sidecar.unwatch", _quoted(operations, operation.schema, operation.relation), arguments)


def _quoted(operations: Operations, schema: str | None, relation: str) -> str:
    """The quoted name of a table, as regclass reads it."""
    preparer = operations.migration_context.dialect.identifier_preparer
    names = (relation,) if schema is None else (schema, relation)
    return ".".join(preparer.quote(name) for name in names)


def _call(operations: Operations, function: str, relation: str, arguments: dict[str, Any]) -> None:
    named = "".join(f", {name} => :{name}" for name in arguments)
    statement = text(f"select {function}(cast(:relation as regclass){named})").bindparams(
        bindparam("relation", relation, String()),
        *(bindparam(name, value, _type_of(value)) for name, value in arguments.items()),
    )
    if operations.migration_context.as_sql:
        _print(operations, statement)
        return
    try:
        operations.execute(statement)
    except DBAPIError as error:
        if not _is_missing(error, function):
            raise
        raise SidecarMissing(
            f"cannot call {function} for {relation}: this database has no schema `sidecar`, or an older version of it. "
            "Run `sidecar migrate` on it before this migration."
        ) from error


def _type_of(value: object) -> TypeEngine[Any] | None:
    return ARRAY(String()) if isinstance(value, list) else None


def _print(operations: Operations, statement: TextClause) -> None:
    """Prints the statement for `--sql`, with its values even if the project's env.py does not set literal_binds."""
    dialect = operations.migration_context.dialect
    compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    operations.migration_context.impl.static_output(f"{compiled}{operations.migration_context.impl.command_terminator}")


def _is_missing(error: DBAPIError, function: str) -> bool:
    """True if schema `sidecar` or the function itself is missing, and not a function that it calls."""
    # Every driver has its own name for it.
    sqlstate = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    message = str(error.orig).partition("\n")[0]
    return sqlstate == _NO_SUCH_SCHEMA or (sqlstate == _NO_SUCH_FUNCTION and f"{function}(" in message)
