"""The message of a 404: what was probably meant by a path at which nothing is served."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from starlette.types import Scope

_MAX_PATH_CHARS = 200  # of a path that are compared with those that are served
_MIN_SIMILARITY = 0.75

# Paths of other servers, and what to use here instead; the first match counts.
_FOREIGN_PATHS: Sequence[tuple[re.Pattern[str], str]] = (
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
        "Text is not generated here, only embedded and ranked: /v1/embeddings, /v2/embed, /embed, /rerank.",
    ),
    (
        re.compile(r".*/(embed_all|embed_sparse|predict|classify|score|pooling|tokenize|detokenize|decode)"),
        "The models here give one dense vector for a text or a picture, or a score: /embed, /v1/embeddings, /rerank.",
    ),
    (re.compile(r".*/(embeddings_audio|audio/.*)"), "Audio is not embedded here, only texts and pictures."),
)


def not_found_message(scope: Scope, served: Collection[str]) -> str:
    """The message for a request whose path is none of those in `served`."""
    message = f"There is nothing at {scope['path']}."
    steps = [step for step in scope["path"][:_MAX_PATH_CHARS].lower().split("/") if step]
    plain = "/" + "/".join(steps)
    if instead := next((instead for pattern, instead in _FOREIGN_PATHS if pattern.fullmatch(plain)), None):
        message += f" {instead}"
    elif end := next((end for end in _suffixes(steps) if end in served), None):
        extra = plain.removesuffix(end)
        message += f" Did you mean {end}?" + (f" Remove {extra} from the client's base URL." if extra else "")
    elif alike := difflib.get_close_matches(plain, served, 1, _MIN_SIMILARITY):
        message += f" Did you mean {alike[0]}?"
    return f"{message} See /docs for what there is."


def _suffixes(steps: Sequence[str]) -> list[str]:
    """All suffixes of a path: `/v1/v1/models`, `/v1/models` and `/models`."""
    return ["/" + "/".join(steps[start:]) for start in range(len(steps))]
