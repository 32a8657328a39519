"""The console's page, for browsers at `/`, and its files below `/console/`. Nothing inline, nothing from elsewhere."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sidecar.http.middleware.paths import root_path_of
from sidecar.http.operation import MediaType, Operation

_FILES = files("sidecar.http.console") / "page"
_PAGE = "index.html"
_PRELOADS = "<!-- modules -->"  # in the page; without them a browser finds the modules one import after another
_LOADED_LATER = (
    "vendor/uPlot.js",
    "live.js",
    "parts/answer.js",
    "add/",
    "doctor/",
    "failures/",
    "map/",
    "rows/",
    "watch/",
)
_MEDIA_TYPES = {".js": MediaType.JAVASCRIPT, ".css": MediaType.CSS, ".svg": MediaType.SVG}
# Trusted types: not even a script of ours can turn a string into markup.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class ConsolePage:
    """All files, read once: a browser asks with their ETag whether its own are still the same."""

    def __init__(self) -> None:
        found = {str(path): content for path, content in _read(_FILES, PurePosixPath())}
        self._page = _with_preloads(found[_PAGE].decode(), sorted(found))
        self._files = {
            name: _make_file(content, media_type)
            for name, content in found.items()
            if (media_type := _MEDIA_TYPES.get(PurePosixPath(name).suffix)) is not None
        }

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/console/{file:path}", self.file, "The console's scripts and styles", None, None),
                response_media=MediaType.JAVASCRIPT,
                deadline=False,
            )
        ]

    async def page(self, request: Request) -> Response:
        """The page. Its links are relative, or begin with the root path, with which no slash need end the address."""
        prefix = html.escape(root_path_of(request.scope))
        page = self._page.replace('"console/', f'"{prefix}/console/') if prefix else self._page
        return _answer(request, _make_file(page.encode(), MediaType.HTML))

    async def file(self, request: Request) -> Response:
        """One of the files. Raises HTTPException (404) if there is none of this name."""
        file = self._files.get(request.path_params["file"])
        if file is None:
            raise HTTPException(404)
        return _answer(request, file)


def _read(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, path / entry.name)
        else:
            yield path / entry.name, entry.read_bytes()


def _with_preloads(page: str, names: list[str]) -> str:
    modules = [name for name in names if name.endswith(".js") and not name.startswith(_LOADED_LATER)]
    return page.replace(
        _PRELOADS, "\n    ".join(f'<link rel="modulepreload" href="console/{name}">' for name in modules)
    )


def _make_file(content: bytes, media_type: MediaType) -> _File:
    return _File(content, media_type.value, f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"')


def _answer(request: Request, file: _File) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
