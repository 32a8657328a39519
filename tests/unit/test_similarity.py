"""Suggestions of existing names that are similar to a misspelt one."""

from __future__ import annotations

import time

import pytest

from sidecar.similarity import did_you_mean, most_similar


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("titel", "title"), ("TITLE", "title"), ("photo", "photo_embedding"), ("xyz", None), ("", None)],
)
def test_the_most_similar_name_is_meant(wanted: str, meant: str | None) -> None:
    assert most_similar(wanted, ["brand", "title", "photo_embedding"]) == meant


def test_it_is_found_among_many_long_and_similar_names() -> None:
    names = [f"metrics_of_customer_{i:05d}_hourly_rollup_by_region_table" for i in range(20_000)]
    began = time.process_time()
    assert (
        did_you_mean("metrics_of_custmer_01234_hourly_rollup_by_region_tabel", names) == f" Did you mean {names[1234]}?"
    )
    assert time.process_time() - began < 2  # comparing them all takes 5 s
