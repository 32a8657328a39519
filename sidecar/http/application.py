"""Assembly of the Starlette application: routes, and the middleware around them.

One request from socket to answer: server → protocol → `_middleware` and `_guard` (here) → embed/endpoints →
embed/all_or_none → batching/embedder → batcher → device_thread → micro_batch → inputs → model/open_clip_encoder, then
back through `Job.answer` in batching/job.py → embed/answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from sidecar.http.access import Access, AccessDenied
from sidecar.http.bodies.content_encoding import DecodeBody
from sidecar.http.bodies.unread_body import DrainUnreadBody
from sidecar.http.bodies.upload_budget import LimitUploads
from sidecar.http.cancellation import with_deadline
from sidecar.http.docs.endpoints import DocumentEndpoints
from sidecar.http.limits import RequestLimits
from sidecar.http.middleware.browsers import SecurityHeaders, cors_middleware
from sidecar.http.middleware.error_handling import EXCEPTION_HANDLERS, UnexpectedErrors
from sidecar.http.middleware.paths import StripRootPath, StripTrailingSlash
from sidecar.http.middleware.request_observation import ObserveRequests
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.operation import Endpoint, MediaType, Operation, Scope
from sidecar.http.protocol.refusals import AnswerRefusedHeads
from sidecar.http.tei.errors import TeiError, TeiErrors
from sidecar.readiness import Readiness
from sidecar.telemetry.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class HttpSetup:
    """Limits, access checks and instruments around all operations.

    `root_path` and `cors_origins` are ROOT_PATH and CORS_ALLOW_ORIGINS.
    """

    limits: RequestLimits
    access: Access
    root_path: str
    cors_origins: Sequence[str]
    telemetry: Telemetry
    readiness: Readiness


def make_http_application(
    operations: Sequence[Operation], setup: HttpSetup, lifespan: Lifespan[Starlette]
) -> Starlette:
    """Routes for `operations` and for their documentation; `lifespan` opens and closes what is behind them."""
    operations = [*operations, *DocumentEndpoints(operations, setup.limits).operations()]
    application = Starlette(
        routes=_routes(operations, setup),
        middleware=_middleware(operations, setup),
        exception_handlers=dict(EXCEPTION_HANDLERS),
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # a redirect would be the one answer without our body
    return application


def _middleware(operations: Sequence[Operation], setup: HttpSetup) -> list[Middleware]:
    """From the outermost to the innermost.

    Those outside middleware/ stand beside what they serve: DrainUnreadBody, DecodeBody and LimitUploads in bodies/,
    AnswerRefusedHeads in protocol/; TeiErrors, around the routes of one API, in tei/.
    """
    label, telemetry, limits = RouteLabel(operations), setup.telemetry, setup.limits
    pages = {each.path for each in operations if each.response_media is MediaType.HTML}
    return [
        Middleware(StripRootPath, root_path=setup.root_path, is_served=label.is_route),
        Middleware(StripTrailingSlash, pages=pages),
        Middleware(ObserveRequests, telemetry=telemetry, label=label),
        Middleware(SecurityHeaders),
        *cors_middleware(setup.cors_origins, _page_headers(operations)),
        Middleware(DrainUnreadBody, max_bytes=2 * limits.max_body_bytes),
        Middleware(UnexpectedErrors, readiness=setup.readiness),
        Middleware(DecodeBody, max_body_bytes=limits.max_body_bytes),
        Middleware(LimitUploads, limits=limits, telemetry=telemetry),
        Middleware(AnswerRefusedHeads),
    ]


def _routes(operations: Sequence[Operation], setup: HttpSetup) -> list[Route]:
    """One per path, so that a 405 can list every method of its path."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, of_path, setup) for path, of_path in by_path.items()]


def _route(path: str, operations: Mapping[str, Operation], setup: HttpSetup) -> Route:
    guarded = {method: _guard(operation, setup) for method, operation in operations.items()}
    in_shape = [Middleware(TeiErrors)] if all(each.error is TeiError for each in operations.values()) else []

    async def answer(request: Request) -> Response:
        return await guarded["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(guarded), middleware=in_shape)


def _page_headers(operations: Iterable[Operation]) -> list[str]:
    """Names of the headers that operations document."""
    return sorted({name for operation in operations for name, _ in operation.headers})


def _guard(operation: Operation, setup: HttpSetup) -> Endpoint:
    endpoint = operation.endpoint
    if operation.deadline:
        endpoint = with_deadline(endpoint, setup.limits.timeout_s)
    if operation.scope is not None:
        endpoint = _with_access(endpoint, setup.access, operation.scope)
    return endpoint


def _with_access(endpoint: Endpoint, access: Access, scope: Scope) -> Endpoint:
    """`endpoint`, after the check of the key, which is done before anything of the body is read.

    What it denies itself, such as a table, is counted and logged like what the check denies.
    """

    async def answer_if_allowed(request: Request) -> Response:
        access.check(request, scope)
        try:
            return await endpoint(request)
        except AccessDenied as denied:
            access.record(request, denied)
            raise

    return answer_if_allowed
