"""Generates the table of docs/monitoring.md from the registry: `python -m tests.metrics_table` rewrites it."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.core import Metric

from sidecar.app import make_telemetry
from sidecar.config import Settings
from sidecar.telemetry.objectives import Objectives
from tests.metric_families import metric_families

PAGE = Path(__file__).parents[1] / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- /metrics -->\n"
_PREFIX_OF_PROMETHEUS_CLIENT = "process_"


def metrics_table() -> str:
    """A row per metric of a complete service, in the order of the page /metrics."""
    registry = make_telemetry(Settings(), Objectives(Settings())).metrics.registry
    lines = ["| Metric | Type | Labels | What it says |", "|---|---|---|---|"]
    for family, labels in metric_families(registry):
        if not family.name.startswith(_PREFIX_OF_PROMETHEUS_CLIENT):
            lines.append(_line(family, labels))
    return "\n".join(lines) + "\n"


def _line(family: Metric, labels: tuple[str, ...]) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {family.documentation} |"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + metrics_table() + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
