"""The chart as a whole: Helm's linter, what is generated of it, and what it includes of deploy/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sidecar
from tests.chart_files import README, SCHEMA, documented_values, golden_path, golden_text, readme_text, schema_text
from tests.integration.deploy.helm.chart import CHART, EXAMPLES, ROOT, example, helm, parse, pick, render, render_text

STALE = "is out of date: run `make chart` and look at what changed"


@pytest.mark.parametrize("name", EXAMPLES)
def test_helms_linter_finds_nothing(name: str) -> None:
    linted = helm("lint", "--strict", CHART, "--values", example(name))
    assert linted.returncode == 0, linted.stdout
    said = [line for line in linted.stdout.splitlines() if line.startswith("[")]
    assert said == ["[INFO] Chart.yaml: icon is recommended"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_render_as_reviewed(name: str) -> None:
    assert golden_text(name) == golden_path(name).read_text(encoding="utf-8"), f"{golden_path(name).name} {STALE}"


def test_the_examples_are_those_of_the_folder() -> None:
    assert sorted(path.stem for path in (CHART / "examples").iterdir()) == sorted(EXAMPLES)


def test_the_schema_has_todays_settings() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), f"values.schema.json {STALE}"


def test_the_table_of_values_is_todays() -> None:
    assert README.read_text(encoding="utf-8") == readme_text(), f"README.md {STALE}"


def test_every_value_is_documented() -> None:
    documented = {name for name, _, _ in documented_values()}
    missing = [name for name in _leaves(yaml.safe_load((CHART / "values.yaml").read_text())) if not name & documented]
    assert missing == []


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[set[str]]:
    """For each leaf its name and those of the maps around it but the outermost: a comment on one of them will do."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            for names in _leaves(value, f"{name}."):
                yield names | ({name} if prefix else set())
        else:
            yield {name}


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert _shape(yaml.safe_load((CHART / "values.yaml").read_text()), schema) == []


def _shape(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> list[str]:
    known = schema["properties"]
    found = [f"{path}{name}" for name in values.keys() ^ (known.keys() - {"global"})]
    for name, value in values.items():
        if isinstance(value, dict) and "properties" in known.get(name, {}):
            found += _shape(value, known[name], f"{path}{name}.")
    return found


def test_the_chart_is_of_the_packages_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (sidecar.__version__, sidecar.__version__)


def _links() -> dict[str, Path]:
    return {path.name: path.resolve().relative_to(ROOT) for path in (CHART / "files").iterdir()}


def test_rules_and_dashboard_are_those_of_deploy_and_no_copies() -> None:
    assert all(path.is_symlink() for path in (CHART / "files").iterdir())
    assert _links() == {
        "alerts.yml": Path("deploy/prometheus/alerts.yml"),
        "recording.yml": Path("deploy/prometheus/recording.yml"),
        "dashboard.json": Path("deploy/grafana/sidecar.json"),
    }
    objects = parse(render_text(example("gpu")))
    for file in ("alerts", "recording"):
        rule = pick(objects, "PrometheusRule", f"sidecar-sidecar-embeddings-{file}")
        assert rule["spec"] == yaml.safe_load((ROOT / "deploy" / "prometheus" / f"{file}.yml").read_text())
    dashboard = pick(objects, "ConfigMap")["data"]["sidecar.json"]
    assert dashboard == (ROOT / "deploy" / "grafana" / "sidecar.json").read_text()


def test_a_package_holds_the_files_behind_the_links(tmp_path: Path) -> None:
    assert helm("package", CHART, "--destination", tmp_path).returncode == 0
    [package] = tmp_path.iterdir()
    rendered = helm("template", "sidecar", package, "--namespace", "shop", "--values", example("gpu"))
    assert rendered.stdout == render_text(example("gpu"))


def test_the_rules_watch_the_job_that_the_scrape_has() -> None:
    objects = render(
        metrics={
            "job": "shop",
            "serviceMonitor": {"enabled": True, "keySecret": "metrics"},
            "prometheusRule": {"enabled": True},
        }
    )
    [endpoint] = pick(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert {"targetLabel": "job", "replacement": "shop"} in endpoint["relabelings"]
    alerts = pick(objects, "PrometheusRule", "sidecar-sidecar-embeddings-alerts")["spec"]["groups"]
    [down] = [rule for group in alerts for rule in group["rules"] if rule["alert"] == "SidecarDown"]
    assert down["expr"] == 'up{job="shop"} == 0'
