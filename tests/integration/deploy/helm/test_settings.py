"""The variables of the pods are settings, with values that the service accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.config import Settings, load_settings, variable_names
from tests.chart_files import OF_THE_COMMAND_LINE, OTHERS, SET_BY_THE_CHART, settings_schema
from tests.integration.deploy.helm.chart import EXAMPLES, container_of, pod_of, refusal, render, rendered_example

SETTINGS = {name for field in Settings.model_fields for name in variable_names(field)}
# Of the system, of Hugging Face's library and of libpq.
FOREIGN = {"HOME", "HF_HOME", "HF_HUB_OFFLINE", "PGSSLMODE", "PGSSLROOTCERT"}


def environment(found: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "from-a-secret") for entry in container_of(found)["env"]}


def deployments(**values: Any) -> dict[str, dict[str, str]]:
    """The environment of each component."""
    objects = render(model={"volume": {"type": "emptyDir"}}, **values)
    return {
        o["metadata"]["labels"]["app.kubernetes.io/component"]: environment(o)
        for o in objects
        if o["kind"] == "Deployment"
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_variable_is_a_setting_or_another_programs(name: str) -> None:
    for found in rendered_example(name):
        if pod_of(found) is not None:
            assert environment(found).keys() <= SETTINGS | FOREIGN


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_service_accepts_the_values_of_every_variable(name: str, tmp_path: Path) -> None:
    url = tmp_path / "DATABASE_URL"
    url.write_text("postgresql://worker:secret@postgres/shop")
    for found in rendered_example(name):
        if found["kind"] == "Deployment":
            values = environment(found)
            settings = load_settings({k: str(url) if k.endswith("DATABASE_URL_FILE") else v for k, v in values.items()})
            assert settings.bind_port == container_of(found)["ports"][0]["containerPort"]


def test_the_schema_offers_every_setting_but_secrets_and_those_that_the_chart_sets() -> None:
    offered = settings_schema()["properties"].keys()
    urls = {"DATABASE_URL", "LISTEN_DATABASE_URL", "SEARCH_DATABASE_URL"}
    secrets = {"API_KEYS", "HF_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS", "SIDECAR_API_KEY"}
    assert SETTINGS - offered == urls | secrets | OF_THE_COMMAND_LINE | SET_BY_THE_CHART.keys()
    assert offered - SETTINGS == OTHERS


def test_a_pods_own_settings_take_precedence_even_where_they_are_false() -> None:
    found = deployments(
        settings={"ENABLE_TTA": True, "BATCH_WINDOW_MS": 10, "LOG_LEVEL": "DEBUG"},
        queries={"settings": {"ENABLE_TTA": False, "BATCH_WINDOW_MS": 0}},
        ingest={"enabled": True},
    )
    names = ("ENABLE_TTA", "BATCH_WINDOW_MS", "LOG_LEVEL")
    assert [found["queries"][name] for name in names] == ["0", "0", "DEBUG"]
    assert [found["ingest"][name] for name in names] == ["1", "10", "DEBUG"]


def test_large_numbers_and_fractions_are_written_as_the_service_reads_them() -> None:
    found = deployments(settings={"MAX_UPLOADS_BYTES": 68_719_476_736, "TTA_ANCHOR_WEIGHT": 0.25, "LEASE_S": 120})
    names = ("MAX_UPLOADS_BYTES", "TTA_ANCHOR_WEIGHT", "LEASE_S")
    assert [found["queries"][name] for name in names] == ["68719476736", "0.25", "120"]


@pytest.mark.parametrize(("gpus", "device"), [(0, None), (1, None), (2, "all")])
def test_a_pod_uses_all_of_its_gpus(gpus: int, device: str | None) -> None:
    assert deployments(queries={"gpu": {"count": gpus}})["queries"].get("CUDA_DEVICE") == device


@pytest.mark.parametrize(
    ("values", "ingest"),
    [
        ({}, {"queries": "1"}),
        ({"ingest": {"enabled": True}}, {"queries": "0", "ingest": "1"}),
        ({"queries": {"enabled": False}, "ingest": {"enabled": True}}, {"ingest": "1"}),
        ({"database": {}}, {"queries": "0"}),
    ],
)
def test_one_component_embeds_rows_if_there_is_a_database(values: dict[str, Any], ingest: dict[str, str]) -> None:
    assert {name: found["INGEST"] for name, found in deployments(**values).items()} == ingest


@pytest.mark.parametrize("name", sorted({*SET_BY_THE_CHART, "API_KEYS", "HF_TOKEN", "VISON_MODEL_ID"}))
def test_a_setting_that_the_chart_sets_a_secret_and_an_unknown_one_are_refused(name: str) -> None:
    assert f"Additional property {name} is not allowed" in refusal(settings={name: "1"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BATCH_MAX_VIEWS": 0}, "settings.BATCH_MAX_VIEWS: Must be greater than or equal to 1"),
        ({"LOG_LEVEL": "LOUD"}, "settings.LOG_LEVEL must be one of"),
        ({"LEASE_S": "a minute"}, "settings.LEASE_S: Invalid type"),
    ],
)
def test_a_value_out_of_bounds_is_refused(settings: dict[str, Any], said: str) -> None:
    assert said in refusal(settings=settings)
