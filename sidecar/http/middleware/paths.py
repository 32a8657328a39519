"""Rewriting of request paths to those that are served: without the root path and without a trailing slash."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = "sidecar.root_path"  # key of a scope: the prefix that was removed


class StripRootPath:
    """Removes ROOT_PATH, or the server's own `--root-path`, from the path.

    A proxy may forward the path with the prefix or without it, and a server prepends its own. Where both readings are
    served, as with `/embed` before `/embed/text`, the path is taken to have no prefix.
    """

    def __init__(self, app: ASGIApp, root_path: str, is_served: Callable[[str], bool]) -> None:
        self._app = app
        self._root_path = root_path
        self._is_served = is_served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        servers_prefix = scope.get("root_path", "").rstrip("/")
        if scope["type"] == "http" and (prefix := self._root_path or servers_prefix):
            path = _without(servers_prefix, scope["path"])
            if not self._is_served(path.rstrip("/") or "/"):
                path = _without(prefix, path)
            scope = {**scope, "path": path, "root_path": "", _PREFIX: prefix}
        await self._app(scope, receive, send)


class StripTrailingSlash:
    """Serves `/v1/embeddings/` as `/v1/embeddings`, without a redirect, on which many clients lose the body of a POST.

    `pages` keep their slash: their links are relative.
    """

    def __init__(self, app: ASGIApp, pages: Collection[str]) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and path.endswith("/") and not path.endswith("//"):
            without = path.removesuffix("/")
            if without and without not in self._pages:
                scope = {**scope, "path": without}
        await self._app(scope, receive, send)


def root_path_of(scope: Scope) -> str:
    """The prefix of this service's paths as its clients see them; "" for none."""
    return str(scope.get(_PREFIX, ""))


def _without(prefix: str, path: str) -> str:
    """`path` without `prefix`, unchanged if it does not begin with it."""
    inside = path.removeprefix(prefix)
    return inside or "/" if inside != path and inside[:1] in {"", "/"} else path
