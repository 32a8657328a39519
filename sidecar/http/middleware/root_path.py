"""A service that a proxy shows below a path of its own, such as `/sidecar`."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = "sidecar.root_path"  # of a scope: what was taken off


class RootPath:
    """Takes ROOT_PATH, or the server's own `--root-path`, off the path: behind this all see the paths that are served.

    A proxy may pass the path on with it or without, and servers put theirs before what arrives. Where both readings are
    paths, as with `/embed` before `/embed/text`, the one without counts.
    """

    def __init__(self, app: ASGIApp, root_path: str, is_served: Callable[[str], bool]) -> None:
        self._app = app
        self._root_path = root_path
        self._is_served = is_served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        servers = scope.get("root_path", "").rstrip("/")
        if scope["type"] == "http" and (prefix := self._root_path or servers):
            path = _without(servers, scope["path"])
            if not self._is_served(path.rstrip("/") or "/"):
                path = _without(prefix, path)
            scope = {**scope, "path": path, "root_path": "", _PREFIX: prefix}
        await self._app(scope, receive, send)


def root_path_of(scope: Scope) -> str:
    """What stands before the paths of this service where its clients see it; "" for nothing."""
    return str(scope.get(_PREFIX, ""))


def _without(prefix: str, path: str) -> str:
    """`path` as it is where it does not begin with `prefix`."""
    inside = path.removeprefix(prefix)
    return inside or "/" if inside != path and inside[:1] in {"", "/"} else path
