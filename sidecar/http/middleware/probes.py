"""Paths that probes and scrapes ask every few seconds: quiet in the log, without a span."""

from __future__ import annotations

from starlette.types import Scope

_PATHS = {"/", "/health", "/healthz", "/livez", "/metrics", "/ping", "/readyz"}


def is_probe(scope: Scope) -> bool:
    """Whether a request is one of them; a POST to `/` embeds."""
    return scope["path"] in _PATHS and scope["method"] != "POST"
