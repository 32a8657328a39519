"""The Grafana dashboard is valid, and its metrics exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from tests.integration.deploy.expressions import find_problems
from tests.integration.deploy.promtool import needs_promtool, promtool
from tests.integration.deploy.test_rules import recorded

DASHBOARD: dict[str, Any] = json.loads((Path(__file__).parents[3] / "deploy" / "grafana" / "sidecar.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COLUMNS = 24
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in PANELS:
        yield from ((panel["title"], target) for target in panel.get("targets", ()))


def variables() -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


async def test_every_metric_and_label_of_a_panel_exists(series: Mapping[str, frozenset[str]]) -> None:
    known = {**series, **recorded()}
    for title, target in targets():
        assert find_problems(_plain(target["expr"]), known, [target["legendFormat"]]) == [], title


async def test_every_variable_is_filled_from_an_existing_metric(series: Mapping[str, frozenset[str]]) -> None:
    for name, variable in variables().items():
        if variable["type"] == "query":
            match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert match is not None, name
            grouped = f"count by ({match['label']}) ({match['selector']})"
            assert find_problems(_plain(grouped), series) == [], name


@needs_promtool
def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{place}", "expr": _plain(target["expr"])} for place, (_, target) in enumerate(targets())
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool(["check", "rules", "panels.yml"], tmp_path)


def test_the_rows_are_in_order() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["From commit to vector", "Objectives", "Queries", "Batching", "Ingest", "Device and process"]
    assert PANELS[0]["type"] == "row"


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS, panel["title"]
        assert place["h"] > 0
        assert place["y"] >= 0
    for one, other in combinations(PANELS, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def test_everything_uses_the_datasource_variable() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert variables()["datasource"]["query"] == "prometheus"
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"] == chosen, panel["title"]
    for title, target in targets():
        assert target["datasource"] == chosen, title
    assert all(variable["datasource"] == chosen for variable in variables().values() if variable["type"] == "query")


def test_variables_are_defined_exactly_if_used() -> None:
    text = json.dumps(DASHBOARD)
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
    assert used == set(variables())


def test_every_panel_has_a_title_a_unit_and_lettered_queries() -> None:
    titles = [panel["title"] for panel in PANELS]
    assert all(titles)
    for panel in PANELS:
        if panel["type"] in {"stat", "timeseries"}:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert letters == [chr(ord("A") + number) for number in range(len(letters))]
        assert panel["type"] == "row" or letters, panel["title"]


def test_the_dashboard_can_be_imported_into_any_grafana() -> None:
    assert DASHBOARD["id"] is None
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["schemaVersion"] >= 36
    assert {panel["type"] for panel in PANELS} <= {"row", "stat", "timeseries", "heatmap", "table"}


def _plain(expression: str) -> str:
    """`expression` with values in place of Grafana's variables."""
    return (
        expression.replace("$__rate_interval", "5m")
        .replace("$job", "j")
        .replace("$instance", "i")
        .replace("$watch", "w")
    )


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )
