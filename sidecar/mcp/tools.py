"""The tools, and their descriptions for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

import sidecar
from sidecar.http.bodies.validation_errors import to_input_error
from sidecar.mcp.reports import Reports
from sidecar.mcp.service import Service
from sidecar.similarity import most_similar

KeyOf: TypeAlias = Callable[[Context[Any, Any]], str | None]

_INSTRUCTIONS = (
    "Searches tables in Postgres by meaning, and reports how their vectors are kept up to date. All tools only read. "
    "Describe what to find in the words that a caption or a title would have; filters compare columns exactly."
)
_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_ROW_FIELDS = ("key", "distance", "distances", "columns", "match_probability")
_STATUS_FIELDS = ("status", "summary", "health", "version", "model", "ingest", "database", "database_detail", "rerank")
_WATCH_FIELDS = (
    *("relation", "target", "kind", "source", "state", "health", "rows", "embedded", "pending", "failed", "empty"),
    *("coverage", "oldest_pending_s", "index"),
)

# "" where it is left out. The SDK would read JSON in a text for `str | None`, such as the words `null` and `[1]`.
_MaybeText: TypeAlias = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
_Table: TypeAlias = Annotated[str, Field(description="The watched table, as in SQL: public.products.")]
_OptionalTable: TypeAlias = Annotated[_MaybeText, Field(description="Only of this watched table.")]
_Target: TypeAlias = Annotated[
    _MaybeText, Field(description="The vector column, where the table has several; an error names them.")
]
_Targets: TypeAlias = Annotated[
    list[str] | None,
    Field(description="Several vector columns to search at once, such as photos and texts. With text, not similar_to."),
]
_Text: TypeAlias = Annotated[_MaybeText, Field(description="What to find, in words: a red bicycle.")]
_KeyValue: TypeAlias = StrictStr | StrictBool | StrictInt | StrictFloat
_SimilarTo: TypeAlias = Annotated[
    _KeyValue | dict[str, _KeyValue] | None,
    Field(description="The key of a row to find similar ones to: 3, or an object of the key columns. Instead of text."),
]
_Filter: TypeAlias = Annotated[
    dict[str, Any] | None,
    Field(
        description="Conditions on key and exposed columns, all of which must hold: "
        '{"tenant": 7, "price": {"$gte": 10, "$lt": 50}, "$or": [{"color": "red"}, {"color": null}]}. Operators: $eq, '
        "$ne, $in, $nin, $lt, $lte, $gt, $gte, $between, $null, $prefix; for arrays and jsonb $contains, $any."
    ),
]
_Columns: TypeAlias = Annotated[
    list[str] | None, Field(description="Exposed columns to return; all of them by default.")
]
_Rows: TypeAlias = Annotated[int, Field(ge=1, le=100, description="How many rows.")]


class _Server(MCPServer):
    """Refuses arguments that a tool lacks, as a misspelt filter finds too much; says in plain words what is wrong."""

    async def list_tools(self) -> list[Tool]:
        tools = await super().list_tools()
        closed = {"additionalProperties": False}
        return [tool.model_copy(update={"input_schema": {**tool.input_schema, **closed}}) for tool in tools]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        for tool in await super().list_tools():
            if tool.name == name:
                _check_names(name, arguments, tool.input_schema.get("properties", {}))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            reason = to_input_error(error.__cause__, BaseModel, arguments)
            raise ToolError(reason.message.replace("The body", f"The call of `{name}`")) from error.__cause__


def _check_names(tool: str, arguments: dict[str, Any], known: dict[str, Any]) -> None:
    for name in arguments:
        if name not in known:
            similar = most_similar(name, known)
            meant = f" Did you mean `{similar}`?" if similar else ""
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ToolError(f"`{tool}` has no argument `{name[:200]}`; {takes}.{meant}")


def make_mcp_server(service: Service, reports: Reports | None, key_of: KeyOf, *, needs_admin: bool) -> MCPServer:
    """The server with its tools. `reports`: None without a database, and then those tools are missing.

    `needs_admin`: whether reports are only for keys with the scope `admin`, which the service knows.
    """
    server = _Server("sidecar", instructions=_INSTRUCTIONS, version=sidecar.__version__, log_level="WARNING")
    _add_service_tools(server, service, key_of)
    if reports is not None:
        _add_report_tools(server, service, reports, key_of if needs_admin else None)
    return server


def _add_service_tools(server: MCPServer, service: Service, key_of: KeyOf) -> None:
    @server.tool(title="Search a table", annotations=_READ_ONLY)
    async def search(  # noqa: PLR0913, PLR0917 - one parameter for every field of the tool
        context: Context[Any, Any],
        table: _Table,
        text: _Text = "",
        similar_to: _SimilarTo = None,
        filter: _Filter = None,  # noqa: A002 - the name that REST has, too
        k: _Rows = 10,
        columns: _Columns = None,
        target: _Target = "",
        targets: _Targets = None,
    ) -> dict[str, Any]:
        """Finds the rows whose text or picture means most nearly what is asked for, nearest first.

        Gives the key, the cosine distance (0 to 2; smaller is nearer) and the exposed columns of each. The nearest rows
        are returned even if nothing fits: judge them by their columns.
        """
        if (not text) == (similar_to is None):
            raise ToolError("Give either `text`, what to find, or `similar_to`, the key of a row.")
        if targets and similar_to is not None:
            raise ToolError("`similar_to` is compared in one `target`: leave `targets` out.")
        asked = {"text": text} if similar_to is None else {"query": [{"key": similar_to}]}
        body = {"table": table, "target": target or None, "targets": targets, "filter": filter, "k": k}
        given = {name: value for name, value in {**body, "columns": columns, **asked}.items() if value is not None}
        try:
            answer = await service.post("/search", key_of(context), given)
        except ToolError as error:
            raise ToolError(str(error).replace("query[0].key", "similar_to")) from error
        rows = [_without_nulls(row, *_ROW_FIELDS) for row in answer["results"]]
        return {"rows": rows, "table": answer["watch"]["table"], "warnings": answer["warnings"]}

    @server.tool(title="Embed a text", annotations=_READ_ONLY)
    async def embed(context: Context[Any, Any], text: Annotated[str, Field(description="The text.")]) -> dict[str, Any]:
        """Makes the vector of a text, for a query of your own in SQL: order by embedding <=> '[…]'.

        To find rows use `search`, which needs no vector. Gives about a thousand numbers, of unit length.
        """
        answer = await service.post("/embed/text", key_of(context), {"text": text})
        return _without_nulls(answer, "embedding", "dim", "model", "fingerprint", "truncated")

    @server.tool(title="State of service and tables", annotations=_READ_ONLY)
    async def status(context: Context[Any, Any]) -> dict[str, Any]:
        """Says whether the service works, which tables are watched, and how far their vectors are up to date.

        Needs a key with the scope `admin`.
        """
        answer = await service.get("/status", key_of(context))
        watches = [_without_nulls(watch, *_WATCH_FIELDS) for watch in answer["watches"] or []]
        return {**_without_nulls(answer, *_STATUS_FIELDS), "watches": watches}


def _add_report_tools(server: MCPServer, service: Service, reports: Reports, admin_key_of: KeyOf | None) -> None:
    async def require_admin(context: Context[Any, Any]) -> None:
        if admin_key_of is not None:
            await service.get("/status", admin_key_of(context))

    @server.tool(title="Rows without a vector", annotations=_READ_ONLY)
    async def failures(
        context: Context[Any, Any], table: _OptionalTable = "", target: _Target = "", limit: _Rows = 20
    ) -> dict[str, Any]:
        """Lists rows that cannot be embedded, newest first, with key and reason. Needs the scope `admin`."""
        await require_admin(context)
        return await reports.failures(table or None, target or None, limit)

    @server.tool(title="Explain the state of a table", annotations=_READ_ONLY)
    async def explain(context: Context[Any, Any], table: _Table, target: _Target = "") -> dict[str, Any]:
        """Explains why searches miss rows of a table, or find old ones: its state, what waits, why rows failed.

        Each reason has an example, advice, and the statements that show and retry its rows; `query` is the statement
        that uses the index. Run no statement that changes something unless the user agrees. Needs the scope `admin`.
        """
        await require_admin(context)
        return await reports.explain(table, target or None)


def _without_nulls(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: answer[name] for name in names if answer.get(name) is not None}
