"""The sidecar on Ray: replicas of the whole process behind Ray Serve, and workers that fill a table.

    serve run sidecar.ray:app max_replicas=4

`app` builds the application from arguments, which are the fields of RayOptions, and from the same environment variables
as `sidecar serve`. Only this package imports Ray, and not before it is needed.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sidecar.ray.application import app

    return app
