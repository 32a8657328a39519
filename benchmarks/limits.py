"""What keeps a figure from its target, as profiles have shown; docs/benchmarks.md says it beside the figure."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS: Mapping[str, str] = {}
"""By the name of the figure. Shown only while the figure misses its target."""
