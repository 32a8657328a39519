"""docs/serving.md speaks of settings, metrics and defaults that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.batching.embedder import MAX_TEXT_CHARS, QueryCache
from sidecar.batching.micro_batch import FIRST_PAUSE_S, LONGEST_PAUSE_S
from sidecar.config import Settings
from sidecar.telemetry.metrics.registry import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
SETTINGS = Settings()


def test_every_setting_it_names_exists() -> None:
    named = {name.lower() for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=\d+)?`", PAGE)}
    assert len(named) > 10
    assert named <= set(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(sidecar_\w+)`", PAGE))))
def test_every_metric_it_names_exists(name: str) -> None:
    families = {family.name for family in Metrics().registry.collect()}
    assert name.removesuffix("_total") in families


@pytest.mark.parametrize(
    ("said", "true"),
    [
        ("`BATCH_MAX_VIEWS` (32)", SETTINGS.batch_max_views == 32),
        ("`BATCH_WINDOW_MS` (10)", SETTINGS.batch_window_ms == 10),
        ("`RERANK_MIN_SHARE` (0.2)", SETTINGS.rerank_min_share == 0.2),
        ("`INGEST_MIN_SHARE` (0.1)", SETTINGS.ingest_min_share == 0.1),
        ("43 % of the last micro-batch", round(0.3 / 0.7, 2) == 0.43),
        ("`QUERY_CACHE_BYTES` (32 MiB", SETTINGS.query_cache_bytes == 32 * 1024 * 1024),
        ("up to 1,000 characters", MAX_TEXT_CHARS == 1000),
        ("after 15 s", FIRST_PAUSE_S == 15),
        ("up\nto an hour", LONGEST_PAUSE_S == 3600),
    ],
)
def test_the_figures_it_tells_are_those_of_the_code(said: str, true: bool) -> None:
    assert said in PAGE
    assert true


def test_the_cache_holds_as_many_vectors_as_it_says() -> None:
    cache: QueryCache[str] = QueryCache(SETTINGS.query_cache_bytes)
    for number in range(8000):
        cache.put(f"{number}: what somebody looks for", "answer", 1152 * 4)
    held = sum(cache.get(f"{number}: what somebody looks for") is not None for number in range(8000))
    assert held == pytest.approx(6000, rel=0.1)
