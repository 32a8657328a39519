"""The REST edge put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from sidecar.http.access import with_access
from sidecar.http.access_log import AccessLog
from sidecar.http.bodies.content_encoding import DecodedBodies
from sidecar.http.bodies.unread_body import UnreadBody
from sidecar.http.bodies.uploads import Uploads
from sidecar.http.cohere.endpoints import CohereEndpoints
from sidecar.http.deadline import with_deadline
from sidecar.http.docs.endpoints import DocumentEndpoints
from sidecar.http.embed.endpoints import EmbeddingEndpoints
from sidecar.http.health import HealthEndpoints
from sidecar.http.infinity.endpoints import InfinityEndpoints
from sidecar.http.metrics_endpoint import MetricsEndpoint
from sidecar.http.middleware.cors import cors_middleware
from sidecar.http.middleware.error_handling import EXCEPTION_HANDLERS, UnexpectedErrors
from sidecar.http.middleware.measured import Measured
from sidecar.http.middleware.paths import TrailingSlash
from sidecar.http.middleware.request_ids import RequestIds
from sidecar.http.middleware.root_path import RootPath
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.middleware.security_headers import SecurityHeaders
from sidecar.http.middleware.traced import Traced
from sidecar.http.openai.endpoints import OpenaiEndpoints
from sidecar.http.operation import Endpoint, MediaType, Operation
from sidecar.http.protocol.refused_heads import RefusedHeads
from sidecar.http.rerank.endpoints import RerankEndpoints
from sidecar.http.search.endpoint import SearchEndpoint
from sidecar.http.service import Service
from sidecar.http.tei.endpoints import TeiEndpoints
from sidecar.http.tei.errors import TeiError, TeiErrors


def make_http_application(service: Service, lifespan: Lifespan[Starlette]) -> Starlette:
    """Every endpoint of the service; `lifespan` opens and closes what is behind it."""
    openai = OpenaiEndpoints(service)
    operations = [
        *EmbeddingEndpoints(service).operations(),
        *openai.operations(),
        *InfinityEndpoints(service, openai).operations(),
        *CohereEndpoints(service).operations(),
        *TeiEndpoints(service).operations(),
        *RerankEndpoints(service).operations(),
        *HealthEndpoints(service).operations(),
        *MetricsEndpoint(service).operations(),
        *SearchEndpoint(service).operations(),
    ]
    operations += DocumentEndpoints(operations, service.limits).operations()
    service.objectives.queries = {(each.path, each.method) for each in operations if each.is_query}
    pages = {each.path for each in operations if each.response_media is MediaType.HTML}
    label, traces = RouteLabel(operations), service.telemetry.traces
    application = Starlette(
        routes=_routes(operations, service),
        middleware=[
            Middleware(RootPath, root_path=service.root_path, is_served=label.is_route),
            Middleware(TrailingSlash, pages=pages),
            Middleware(Measured, telemetry=service.telemetry, label=label),
            *([Middleware(Traced, traces=traces, label=label)] if traces.enabled else []),
            Middleware(RequestIds),
            Middleware(AccessLog),
            Middleware(SecurityHeaders),
            *cors_middleware(service.cors_origins, _page_headers(operations)),
            Middleware(UnreadBody, max_bytes=2 * service.limits.max_body_bytes),
            Middleware(UnexpectedErrors, check_ready=service.check_ready),
            Middleware(DecodedBodies, max_body_bytes=service.limits.max_body_bytes),
            Middleware(Uploads, limits=service.limits, telemetry=service.telemetry),
            Middleware(RefusedHeads),
        ],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # a redirect would be the one answer without our body
    return application


def _routes(operations: Sequence[Operation], service: Service) -> list[Route]:
    """One for each path, so that 405 can name all methods that it answers."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, of_path, service) for path, of_path in by_path.items()]


def _route(path: str, operations: Mapping[str, Operation], service: Service) -> Route:
    guarded = {method: _guard(operation, service) for method, operation in operations.items()}
    in_shape = [Middleware(TeiErrors)] if all(each.error is TeiError for each in operations.values()) else []

    async def answer(request: Request) -> Response:
        return await guarded["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(guarded), middleware=in_shape)


def _page_headers(operations: Iterable[Operation]) -> list[str]:
    """What operations say in the head of an answer."""
    return sorted({name for operation in operations for name, _ in operation.headers})


def _guard(operation: Operation, service: Service) -> Endpoint:
    endpoint = operation.endpoint
    if operation.deadline:
        endpoint = with_deadline(endpoint, service.limits.timeout_s)
    if operation.scope is not None:
        endpoint = with_access(endpoint, service.access, operation.scope)
    return endpoint
