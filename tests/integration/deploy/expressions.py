"""Checks PromQL expressions against the series of a service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sidecar.batching.job import Lane
from sidecar.telemetry.telemetry import Stage
from tests.integration.deploy.promql import parse_names

Series = Mapping[str, frozenset[str]]

_VALUES = {
    "stage": {stage.value for stage in Stage},
    "lane": {lane.value for lane in Lane},
    "objective": {"query_latency", "lag", "availability"},
}
_SHOWN_LABEL = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


def recorded_labels(name: str) -> frozenset[str]:
    """The labels of a series recorded by a rule, which its name begins with."""
    return frozenset(name.split(":", maxsplit=1)[0].split("_"))


def find_problems(expression: str, series: Series, shown: Iterable[str] = ()) -> list[str]:
    """Names in `expression` that do not exist. `shown`: legends and annotations with the expression's labels."""
    names = parse_names(expression)
    problems = [] if names.selectors else [f"no metric in {expression}"]
    labels: set[str] = set()
    for selector in names.selectors:
        if selector.metric not in series:
            problems.append(f"there is no {selector.metric}")
            continue
        labels |= series[selector.metric]
        problems += [
            f"{selector.metric} has no label {name}" for name in selector.matchers.keys() - series[selector.metric]
        ]
        for name, (operator, value) in selector.matchers.items():
            if operator == "=" and name in _VALUES and value not in _VALUES[name]:
                problems.append(f"{name} is never {value}")
    mentioned = names.grouping | {label for text in shown for label in _SHOWN_LABEL.findall(text)}
    return problems + [f"nothing has a label {name}" for name in mentioned - labels - {"value"}]
