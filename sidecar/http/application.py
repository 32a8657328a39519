"""The REST edge put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from sidecar.http.access import Access, with_access
from sidecar.http.access_log import AccessLog
from sidecar.http.bodies.content_encoding import DecodedBodies
from sidecar.http.bodies.unread_body import UnreadBody
from sidecar.http.bodies.uploads import Uploads
from sidecar.http.deadline import with_deadline
from sidecar.http.docs.endpoints import DocumentEndpoints
from sidecar.http.limits import RequestLimits
from sidecar.http.middleware.cors import cors_middleware
from sidecar.http.middleware.error_handling import EXCEPTION_HANDLERS, UnexpectedErrors
from sidecar.http.middleware.measured import Measured
from sidecar.http.middleware.paths import TrailingSlash
from sidecar.http.middleware.request_ids import RequestIds
from sidecar.http.middleware.root_path import RootPath
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.middleware.security_headers import SecurityHeaders
from sidecar.http.middleware.traced import Traced
from sidecar.http.operation import Endpoint, MediaType, Operation
from sidecar.http.protocol.refused_heads import RefusedHeads
from sidecar.http.tei.errors import TeiError, TeiErrors
from sidecar.readiness import Readiness
from sidecar.telemetry.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Edge:
    """What lies between clients and operations. `root_path` and `cors_origins` are ROOT_PATH and CORS_ALLOW_ORIGINS."""

    limits: RequestLimits
    access: Access
    root_path: str
    cors_origins: Sequence[str]
    telemetry: Telemetry
    readiness: Readiness


def make_http_application(operations: Sequence[Operation], edge: Edge, lifespan: Lifespan[Starlette]) -> Starlette:
    """Routes for `operations` and for their documentation; `lifespan` opens and closes what is behind them."""
    operations = [*operations, *DocumentEndpoints(operations, edge.limits).operations()]
    application = Starlette(
        routes=_routes(operations, edge),
        middleware=_middleware(operations, edge),
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # a redirect would be the one answer without our body
    return application


def _middleware(operations: Sequence[Operation], edge: Edge) -> list[Middleware]:
    """From the outermost to the innermost."""
    label, telemetry, limits = RouteLabel(operations), edge.telemetry, edge.limits
    pages = {each.path for each in operations if each.response_media is MediaType.HTML}
    return [
        Middleware(RootPath, root_path=edge.root_path, is_served=label.is_route),
        Middleware(TrailingSlash, pages=pages),
        Middleware(Measured, telemetry=telemetry, label=label),
        *([Middleware(Traced, traces=telemetry.traces, label=label)] if telemetry.traces.enabled else []),
        Middleware(RequestIds),
        Middleware(AccessLog),
        Middleware(SecurityHeaders),
        *cors_middleware(edge.cors_origins, _page_headers(operations)),
        Middleware(UnreadBody, max_bytes=2 * limits.max_body_bytes),
        Middleware(UnexpectedErrors, readiness=edge.readiness),
        Middleware(DecodedBodies, max_body_bytes=limits.max_body_bytes),
        Middleware(Uploads, limits=limits, telemetry=telemetry),
        Middleware(RefusedHeads),
    ]


def _routes(operations: Sequence[Operation], edge: Edge) -> list[Route]:
    """One for each path, so that 405 can name all methods that it answers."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, of_path, edge) for path, of_path in by_path.items()]


def _route(path: str, operations: Mapping[str, Operation], edge: Edge) -> Route:
    guarded = {method: _guard(operation, edge) for method, operation in operations.items()}
    in_shape = [Middleware(TeiErrors)] if all(each.error is TeiError for each in operations.values()) else []

    async def answer(request: Request) -> Response:
        return await guarded["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(guarded), middleware=in_shape)


def _page_headers(operations: Iterable[Operation]) -> list[str]:
    """What operations say in the head of an answer."""
    return sorted({name for operation in operations for name, _ in operation.headers})


def _guard(operation: Operation, edge: Edge) -> Endpoint:
    endpoint = operation.endpoint
    if operation.deadline:
        endpoint = with_deadline(endpoint, edge.limits.timeout_s)
    if operation.scope is not None:
        endpoint = with_access(endpoint, edge.access, operation.scope)
    return endpoint
