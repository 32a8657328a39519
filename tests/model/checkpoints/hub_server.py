"""A test hub that serves folders as repositories, by the part of Hugging Face's protocol that downloads use."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_REVISION = "0123456789abcdef0123456789abcdef01234567"
_PRIVATE = "private/"
_CUT_OFF = "cut-off/"


@dataclass(frozen=True)
class Hub:
    """`requests` are the requested paths.

    Repositories under `private/` require `token`; downloads from those under `cut-off/` break off in the middle.
    """

    repositories: Mapping[str, Path]
    token: str
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve_hub(repositories: Mapping[str, Path], token: str) -> Iterator[Hub]:
    """Serves on a free local port for the length of the block."""
    requests: list[str] = []

    class Handler(_Handler):
        hub = Hub(repositories, token, requests)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="hub", daemon=True)
    thread.start()
    try:
        yield Hub(repositories, token, requests, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].removeprefix("/")
        self.hub.requests.append(path)
        parts = path.removeprefix("api/models/").split("/")
        repository = "/".join(parts[:2])
        if repository.startswith(_PRIVATE) and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._send(401, b"Invalid username or password.", with_body)
        elif (folder := self.hub.repositories.get(repository)) is None:
            self._send(404, b"Repository not found", with_body, {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("api/models/"):
            listing = _tree(folder) if "tree" in parts else {"id": repository, "sha": _REVISION, "siblings": []}
            self._send(200, json.dumps(listing).encode(), with_body, {"Content-Type": "application/json"})
        else:
            self._send_file(folder / parts[-1], with_body)

    def _send_file(self, file: Path, with_body: bool) -> None:
        content = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": _REVISION}
        self._send(200, content, with_body, headers)

    def _send(self, status: int, body: bytes, with_body: bool, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body and self.path.startswith(f"/{_CUT_OFF}"):
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif with_body:
            self.wfile.write(body)


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": file.name,
            "size": file.stat().st_size,
            "oid": hashlib.sha256(file.name.encode()).hexdigest()[:40],
        }
        for file in sorted(folder.iterdir())
    ]
