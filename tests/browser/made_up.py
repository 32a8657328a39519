"""Answers of the service that a test makes up: watches, rows that a search finds, samples of the events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from playwright.sync_api import Page


def watch(table: str, **changes: Any) -> dict[str, Any]:
    """A watch as `GET /watches` has it: of texts, whose title is exposed."""
    return {
        "watch": f"{table}.title_embedding",
        "table": table,
        "target": "title_embedding",
        "companion": None,
        "kind": "text",
        "source": ["title"],
        "key_columns": ["id"],
        "columns": [{"name": "title", "type": "text", "comparable": True}],
        "has_thumbnails": False,
        "dimensions": 8,
        "model": "words",
        "searchable": True,
        "problem": None,
        "warnings": [],
        **changes,
    }


def found(*rows: dict[str, Any]) -> dict[str, Any]:
    """The answer of a search. Rows are their columns; the keys count from 1."""
    figures = {"distance": 0.25, "rerank_score": None, "match_probability": None}
    return {
        "results": [{"key": {"id": number}, "columns": row, **figures} for number, row in enumerate(rows, start=1)],
        "next": None,
        "warnings": [],
        "took_ms": 3.0,
        "truncated": False,
        "stages_ms": {"text": 1.0, "database": 1.0},
        "match_probability_calibrated": False,
    }


def offer(page: Page, *watches: dict[str, Any]) -> None:
    """These are the watches."""
    page.route("**/watches", lambda route: route.fulfill(json={"watches": watches}))


def find(page: Page, *rows: dict[str, Any]) -> None:
    """Each search finds these rows."""
    page.route("**/search", lambda route: route.fulfill(json=found(*rows)))


def sample(at: float, pending: dict[str, int], **lanes: float) -> dict[str, Any]:
    """A sample of the events. `pending`: rows that wait, by watch. `lanes`: their shares of the device."""
    point = {"failed": 0, "rows_per_s": 0.0, "lag_p50_s": None, "lag_p95_s": None}
    return {
        "at": at,
        "watches": {name: {"pending": rows, **point} for name, rows in pending.items()},
        "lanes": {name: {"device_share": share} for name, share in lanes.items()},
        "queries": {"per_s": 0.0, "p50_s": None, "p95_s": None},
    }


def send(page: Page, samples: Iterable[dict[str, Any]]) -> None:
    """The events are a history of these samples, and then end."""
    body = f"event: history\ndata: {json.dumps({'interval_s': 5, 'samples': list(samples)})}\n\n"
    page.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
