"""Recording and alerting rules pass promtool's tests, and their metrics exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.deploy.expressions import find_problems, recorded_labels
from tests.integration.deploy.promql import Selector, parse_names
from tests.integration.deploy.promtool import needs_promtool, promtool

ROOT = Path(__file__).parents[3]
DIRECTORY = ROOT / "deploy" / "prometheus"
RULE_FILES = ("recording.yml", "alerts.yml")


def rules() -> Iterator[dict[str, Any]]:
    for name in RULE_FILES:
        for group in yaml.safe_load((DIRECTORY / name).read_text())["groups"]:
            yield from group["rules"]


def recorded() -> dict[str, frozenset[str]]:
    return {rule["record"]: recorded_labels(rule["record"]) for rule in rules() if "record" in rule}


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    promtool(["check", "rules", *RULE_FILES], DIRECTORY)


@needs_promtool
def test_promtools_tests_of_the_alerts_pass() -> None:
    promtool(["test", "rules", "alerts.test.yml"], DIRECTORY)


@needs_promtool
def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    key = tmp_path / "sidecar.key"
    key.write_text("k" * 16)
    for name in RULE_FILES:
        (tmp_path / name).write_text((DIRECTORY / name).read_text())
    example = (DIRECTORY / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(example.replace("/etc/prometheus/sidecar.key", str(key)))
    promtool(["check", "config", "prometheus.yml"], tmp_path)


async def test_every_metric_and_label_of_a_rule_exists(series: Mapping[str, frozenset[str]]) -> None:
    known = {**series, **recorded()}
    for rule in rules():
        shown = rule.get("annotations", {}).values()
        assert find_problems(rule["expr"], known, shown) == [], rule.get("alert", rule.get("record"))


def test_every_alert_has_a_test_a_severity_and_a_link() -> None:
    tests = (DIRECTORY / "alerts.test.yml").read_text()
    page = (ROOT / "docs" / "monitoring.md").read_text()
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for rule in rules():
        if "alert" in rule:
            assert f'alertname="{rule["alert"]}",alertstate="firing"' in tests, rule["alert"]
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}
            file, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert (file, anchor in anchors) == ("docs/monitoring.md", True), rule["alert"]


def test_the_readme_names_every_file() -> None:
    page = ROOT / "deploy" / "README.md"
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert all((page.parent / link).exists() for link in links)
    files = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*") if path.is_file()}
    of_the_chart = {file for file in files if file.startswith("helm/")}  # it has a README of its own
    assert files - of_the_chart - {"README.md"} | {"helm/README.md"} <= set(links)


def test_every_recorded_series_is_used() -> None:
    used = {selector.metric for rule in rules() for selector in parse_names(rule["expr"]).selectors}
    dashboard = (ROOT / "deploy" / "grafana" / "sidecar.json").read_text()
    for name in recorded():
        assert name in used or name in dashboard, name


@pytest.mark.parametrize(
    ("expression", "selectors", "grouping"),
    [
        ("up == 0", [Selector("up", {})], set()),
        (
            'sum by (job, le) (rate(a_total{x="1,2", y!~"a|b"}[5m] offset 1h)) / on (job) group_left b',
            [Selector("a_total", {"x": ("=", "1,2"), "y": ("!~", "a|b")}), Selector("b", {})],
            {"job", "le"},
        ),
        (
            "histogram_quantile(0.95, sum(rate(c_bucket[$__rate_interval])) by (le)) > 1e3",
            [Selector("c_bucket", {})],
            {"le"},
        ),
        ("a:b:5m and c unless d", [Selector("a:b:5m", {}), Selector("c", {}), Selector("d", {})], set()),
    ],
)
def test_names_of_an_expression_are_parsed(expression: str, selectors: list[Selector], grouping: set[str]) -> None:
    names = parse_names(expression)
    assert (names.selectors, names.grouping) == (selectors, grouping)


def test_unknown_names_are_reported() -> None:
    series = {"a_total": frozenset({"job", "lane"})}
    assert find_problems("sum by (lane) (rate(a_total[5m]))", series, ["{{lane}}"]) == []
    assert find_problems("b", series) == ["there is no b"]
    assert find_problems('a_total{stage="x"}', series) == ["a_total has no label stage", "stage is never x"]
    assert find_problems("sum by (kind) (a_total)", series) == ["nothing has a label kind"]
    assert find_problems("a_total", series, ["{{ $labels.watch }}"]) == ["nothing has a label watch"]
