"""docs/benchmarks.md and the command line quote the same rates of devices."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.operations.planning.device_rates import DEVICE_RATES

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_the_table_of_devices_has_the_rates_that_plan_computes_with() -> None:
    section = PAGE.partition("## The default model on typical devices")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.,]+) \| ([\d.,]*) ?\| (\w+) \|$", section, re.MULTILINE)
    expected = []
    for rate in DEVICE_RATES:
        texts = "" if rate.texts_per_s is None else f"{rate.texts_per_s:,}"
        by = {"sidecar": "us", "timm": "timm"}[rate.measured_by]
        expected.append((rate.device, f"{rate.views_per_s:,}", texts, by))
    assert rows == expected
