"""`sidecar recall`"""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.search.test_recall import fill


def test_the_command_names_the_smallest_value_that_is_enough(
    database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as db:
        fill(db, companion=False)
    shown = command_line("recall", "items", "--ef", "400,800", "--sample", "20").stdout
    assert "set hnsw.ef_search = 400; is enough for a recall of 0.95" in shown
    lines = json.loads(command_line("recall", "items", "--ef", "10", "--sample", "20", "--json").stdout)
    assert [(line["ef"], line["queries"]) for line in lines] == [(10, 20)]
    assert "% of the 10 nearest with hnsw.ef_search = 10, measured 20" in command_line("status").stdout
    (watch,) = json.loads(command_line("status", "--json").stdout)
    assert (watch["recall"], watch["recall_k"], watch["recall_ef_search"]) == (lines[0]["recall"], 10, 10)
    refused = command_line("recall", "items", "--ef", "0")
    assert "'0' is not a list of numbers from 1 to 32768, such as 40,100,200" in refused.stderr
