"""The REST edge put together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Lifespan

from sidecar.http.access import with_access
from sidecar.http.access_log import AccessLog
from sidecar.http.cors import cors_middleware
from sidecar.http.deadline import with_deadline
from sidecar.http.document_endpoints import DocumentEndpoints
from sidecar.http.embedding_endpoints import EmbeddingEndpoints
from sidecar.http.error_handling import EXCEPTION_HANDLERS, UnexpectedErrors
from sidecar.http.health_endpoints import HealthEndpoints
from sidecar.http.measured import Measured
from sidecar.http.metrics_endpoint import MetricsEndpoint
from sidecar.http.openai.endpoints import OpenaiEndpoints
from sidecar.http.operation import Operation
from sidecar.http.refused_heads import RefusedHeads
from sidecar.http.request_ids import RequestIds
from sidecar.http.rerank.endpoints import RerankEndpoints
from sidecar.http.route_label import RouteLabel
from sidecar.http.search_endpoint import SearchEndpoint
from sidecar.http.security_headers import SecurityHeaders
from sidecar.http.service import Service
from sidecar.http.traced import Traced
from sidecar.http.unread_body import UnreadBody
from sidecar.http.uploads import Uploads


def make_http_application(service: Service, lifespan: Lifespan[Starlette]) -> Starlette:
    """Every endpoint of the service; `lifespan` opens and closes what is behind it."""
    operations = [
        *EmbeddingEndpoints(service).operations(),
        *OpenaiEndpoints(service).operations(),
        *RerankEndpoints(service).operations(),
        *HealthEndpoints(service).operations(),
        *MetricsEndpoint(service).operations(),
        *SearchEndpoint(service).operations(),
    ]
    operations += DocumentEndpoints(operations, service.limits).operations()
    service.objectives.queries = {(each.path, each.method) for each in operations if each.is_query}
    label, traces = RouteLabel(operations), service.telemetry.traces
    application = Starlette(
        routes=[_route(operation, service) for operation in operations],
        middleware=[
            Middleware(Measured, telemetry=service.telemetry, label=label),
            *([Middleware(Traced, traces=traces, label=label)] if traces.on else []),
            Middleware(RequestIds),
            Middleware(AccessLog),
            Middleware(SecurityHeaders),
            *cors_middleware(service.cors_origins),
            Middleware(UnreadBody, max_bytes=2 * service.limits.max_body_bytes),
            Middleware(UnexpectedErrors, check_ready=service.check_ready),
            Middleware(Uploads, limits=service.limits, telemetry=service.telemetry),
            Middleware(RefusedHeads),
        ],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # a redirect would be the one answer without our body
    return application


def _route(operation: Operation, service: Service) -> Route:
    endpoint = operation.endpoint
    if operation.deadline:
        endpoint = with_deadline(endpoint, service.limits.timeout_s)
    if operation.scope is not None:
        endpoint = with_access(endpoint, service.access, operation.scope)
    return Route(operation.path, endpoint, methods=[operation.method])
