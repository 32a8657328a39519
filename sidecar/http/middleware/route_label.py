"""The route and method under which metrics count a request: those of an operation, or `other`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import Scope

from sidecar.http.operation import Operation
from sidecar.telemetry.metrics.instruments import OTHER


class RouteLabel:
    """Maps requests to labels. It has as many values as there are operations, whatever paths clients invent."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._methods: dict[str, set[str]] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}
        for operation in operations:
            pattern, documented, converters = compile_path(operation.path)
            self._methods.setdefault(documented, set()).add(operation.method)
            if converters:
                self._patterns[documented] = pattern

    def of(self, scope: Scope) -> tuple[str, str]:
        """Route and method. HEAD counts as GET, whose endpoint answers it."""
        route = self._route(scope["path"])
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return route, method if method in self._methods.get(route, ()) else OTHER

    def is_route(self, path: str) -> bool:
        """Whether anything is served at `path`, with any method."""
        return self._route(path) != OTHER

    def _route(self, path: str) -> str:
        if path in self._methods:
            return path
        return next((route for route, pattern in self._patterns.items() if pattern.match(path)), OTHER)
