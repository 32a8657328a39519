"""docs/monitoring.md lists exactly the metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.ingest.writer import count_outcomes
from sidecar.postgres.completion import RowOutcome, RowResult, WriteReport
from tests.metrics_table import PAGE, metrics_table

PROMQL = re.compile(r"^```promql\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"\b(?:sidecar|process)_[a-z_]+")
NOT_IN_OURS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_"}


def queries() -> list[str]:
    return [line for block in PROMQL.findall(PAGE.read_text(encoding="utf-8")) for line in block.splitlines()]


def test_the_table_matches_the_registry() -> None:
    assert metrics_table() in PAGE.read_text(encoding="utf-8"), "out of date: run `python -m tests.metrics_table`"


def test_every_name_in_the_text_exists() -> None:
    known = NAME.findall(metrics_table())
    known += [f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")]
    text = PAGE.read_text(encoding="utf-8").replace(metrics_table(), "")
    unknown = {name for name in NAME.findall(text) if name not in {*known, *NOT_IN_OURS, "sidecar_watch_"}}
    assert unknown == set()


def test_every_outcome_is_explained() -> None:
    results = [RowResult(("1",), (1, 2), outcome) for outcome in RowOutcome]
    done = WriteReport(written=results, voided=results[:1], lease_lost=results[:1])
    explained = set(re.findall(r"^\| `([a-z_]+)` \| .", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {outcome for outcome, _ in count_outcomes(done)} | {"delayed", "given_back"} <= explained


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    assert len(rules) >= 12
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "docs", "rules": rules}]}), encoding="utf-8")  # JSON is YAML
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
