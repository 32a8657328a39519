"""`/openapi.json`, and `/docs`, a page that shows it. The page's files are served from here: no CDN, nothing inline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from sidecar.http.docs.openapi import make_openapi_document
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.middleware.paths import root_path_of
from sidecar.http.operation import Endpoint, MediaType, Operation

_ASSETS = {MediaType.JAVASCRIPT, MediaType.CSS}  # parts of a page, which are not documented
_PAGE = files("sidecar.http.docs") / "page"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-cache",
}


class DocumentEndpoints:
    """Documents the operations `others` and its own, except for the scripts and styles of pages."""

    def __init__(self, others: Sequence[Operation], limits: RequestLimits) -> None:
        operations = [*others, *self.operations()]
        documented = [operation for operation in operations if operation.response_media not in _ASSETS]
        self._document = make_openapi_document(documented, limits)

    def operations(self) -> list[Operation]:
        return [
            _operation("/openapi.json", self.document, "This document", MediaType.JSON),
            _operation("/docs", _page("page.html", MediaType.HTML), "This document as a web page", MediaType.HTML),
            _operation("/docs/page.js", _page("page.js", MediaType.JAVASCRIPT), "Its script", MediaType.JAVASCRIPT),
            _operation("/docs/page.css", _page("page.css", MediaType.CSS), "Its style", MediaType.CSS),
        ]

    async def document(self, request: Request) -> Response:
        root_path = root_path_of(request.scope)
        return JsonResponse({**self._document, "servers": [{"url": root_path}]} if root_path else self._document)


def _page(name: str, media: MediaType) -> Endpoint:
    content = (_PAGE / name).read_bytes()

    async def send(_request: Request) -> Response:
        return Response(content, media_type=media.value, headers=_HEADERS)

    return send


def _operation(path: str, endpoint: Endpoint, summary: str, media: MediaType) -> Operation:
    return Operation("GET", path, endpoint, summary, None, None, response_media=media, deadline=False)
