"""The paths that are served: written with a slash too many, and what is said of those that are not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

_MAX_PATH_CHARS = 200  # of what is compared with the paths there are
_ALIKE = 0.75

# Paths of other servers, and what there is in their place; the first that fits.
_ELSEWHERE: Sequence[tuple[re.Pattern[str], str]] = (
    (
        re.compile(r"/api/(embed|embeddings|tags|show|version|generate|chat|ps|pull)"),
        "Ollama's API is not served. OpenAI's is, which the same tools speak: POST /v1/embeddings, base URL …/v1.",
    ),
    (
        re.compile(r".*/openai/deployments/[^/]+/embeddings"),
        "Azure's paths are not served. Use the client for OpenAI itself: POST /v1/embeddings, base URL …/v1.",
    ),
    (
        re.compile(r".*/(chat/completions|completions|responses|messages|generate|chat)"),
        "No text is generated here, only embedded and ranked: /v1/embeddings, /v2/embed, /embed, /rerank.",
    ),
    (
        re.compile(r".*/(embed_all|embed_sparse|predict|classify|score|pooling|tokenize|detokenize|decode)"),
        "The models here give one dense vector for a text or a picture, or a score: /embed, /v1/embeddings, /rerank.",
    ),
    (re.compile(r".*/(embeddings_audio|audio/.*)"), "Sounds are not embedded here; texts and pictures are."),
)


class TrailingSlash:
    """Takes `/v1/embeddings/` for `/v1/embeddings`: no redirect, with which many clients lose the body of a POST.

    `pages` are left as they are: their links are relative.
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


def explain_missing(scope: Scope, served: Collection[str]) -> str:
    """Why there is nothing at a request's path, and what was probably meant. `served` are the paths that there are."""
    message = f"There is nothing at {scope['path']}."
    steps = [step for step in scope["path"][:_MAX_PATH_CHARS].lower().split("/") if step]
    plain = "/" + "/".join(steps)
    if instead := next((instead for pattern, instead in _ELSEWHERE if pattern.fullmatch(plain)), None):
        message += f" {instead}"
    elif end := next((end for end in _ends(steps) if end in served), None):
        extra = plain.removesuffix(end)
        message += f" Did you mean {end}?" + (f" Take {extra} out of the client's base URL." if extra else "")
    elif alike := difflib.get_close_matches(plain, served, 1, _ALIKE):
        message += f" Did you mean {alike[0]}?"
    return f"{message} What there is: /docs."


def _ends(steps: Sequence[str]) -> list[str]:
    """`/v1/v1/models` ends with itself, `/v1/models` and `/models`."""
    return ["/" + "/".join(steps[start:]) for start in range(len(steps))]
