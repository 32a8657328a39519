"""Renders the operations as Python code of a migration, for autogenerate."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext

from sidecar.alembic.operations import UnwatchOp, WatchOp


@renderers.dispatch_for(WatchOp)
def render_watch(context: AutogenContext, operation: WatchOp) -> str:
    """`op.sidecar_watch('products', ['title', 'brand'], target='title_embedding')`."""
    options = operation.watch.call
    source = options.pop("source")
    options |= {"replace": True} if operation.replace else {}
    arguments = [operation.watch.relation, source[0] if len(source) == 1 else source]
    return _render(context, "sidecar_watch", arguments, options, operation.watch.schema)


@renderers.dispatch_for(UnwatchOp)
def render_unwatch(context: AutogenContext, operation: UnwatchOp) -> str:
    """`op.sidecar_unwatch('products', 'title_embedding')`."""
    arguments = [operation.relation] if operation.target is None else [operation.relation, operation.target]
    options = {"drop_target": True} if operation.drop_target else {}
    return _render(context, "sidecar_unwatch", arguments, options, operation.schema)


def _render(
    context: AutogenContext, name: str, arguments: list[Any], options: dict[str, Any], schema: str | None
) -> str:
    options = options if schema is None else {**options, "schema": schema}
    written = [repr(_plain(argument)) for argument in arguments]
    written += [f"{option}={_plain(value)!r}" for option, value in options.items()]
    return f"{context.opts['alembic_module_prefix'] or ''}{name}({', '.join(written)})"


def _plain(value: Any) -> Any:
    """A plain str: the repr of SQLAlchemy's quoted_name may contain more than the name."""
    return str(value) if isinstance(value, str) else value
