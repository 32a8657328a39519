"""The REST edge put together."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Lifespan

from sidecar.http.deadline import with_deadline
from sidecar.http.embedding_endpoints import EmbeddingEndpoints
from sidecar.http.error_handling import EXCEPTION_HANDLERS, UnexpectedErrors
from sidecar.http.health_endpoints import HealthEndpoints
from sidecar.http.operation import Operation
from sidecar.http.service import Service
from sidecar.http.unread_body import UnreadBody


def make_http_application(service: Service, lifespan: Lifespan[Starlette]) -> Starlette:
    """Every endpoint of the service; `lifespan` opens and closes what is behind it."""
    operations = [*EmbeddingEndpoints(service).operations(), *HealthEndpoints(service).operations()]
    application = Starlette(
        routes=[_route(operation, service) for operation in operations],
        middleware=[
            Middleware(UnreadBody, max_bytes=2 * service.limits.max_body_bytes),
            Middleware(UnexpectedErrors),
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
    return Route(operation.path, endpoint, methods=[operation.method])
