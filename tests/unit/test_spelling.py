"""Misspelt variables are found, and those of other programs are not."""

from __future__ import annotations

import pytest

from sidecar.config import misspelt_variables
from sidecar.settings import Settings
from sidecar.spelling import find_misspelt

KNOWN = [name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VISON_MODEL_ID", "VISION_MODEL_ID"),
        ("VISION_MODLE_ID", "VISION_MODEL_ID"),
        ("VISION_MODEL_IDS", "VISION_MODEL_ID"),
        ("VISON_MODELID", "VISION_MODEL_ID"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("LISTEN_DATABASE_URLS", "LISTEN_DATABASE_URL"),
        ("database_url", "DATABASE_URL"),
        ("SIDECAR_LOG_LEVEL", "LOG_LEVEL"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("REQUIRE_CUDA_", "REQUIRE_CUDA"),
        ("API_KEY", "API_KEYS"),
        ("POLL_INTERVAL_MS", "POLL_INTERVAL_S"),
    ],
)
def test_a_name_near_a_setting_is_found(name: str, meant: str) -> None:
    assert find_misspelt([name], KNOWN) == {name: meant}


@pytest.mark.parametrize(
    "name",
    [
        # of shells, Postgres, Python and libraries
        *("PATH", "HOME", "LANG", "LC_ALL", "TERM", "USER", "SHELL", "PWD", "HOSTNAME", "TZ", "EDITOR", "DISPLAY"),
        *("PGHOST", "PGPORT", "PGDATABASE", "PGPASSWORD", "PGSSLMODE", "PGSERVICE", "POSTGRES_PASSWORD"),
        *("PYTHONPATH", "VIRTUAL_ENV", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME"),
        *("HF_HOME", "HF_HUB_OFFLINE", "GH_TOKEN", "HTTP_PROXY", "NO_PROXY", "NO_COLOR", "COLUMNS"),
        *("DATABASE_HOST", "DATABASE_NAME", "DATABASE_USER", "TEST_DATABASE_URL", "REDIS_URL", "SECRET_KEY"),
        *("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED"),
        *("KUBERNETES_SERVICE_PORT", "WEB_CONCURRENCY", "PORTS", "RANK", "INGRES", "SIDECAR_TEST_POSTGRES_VERSION"),
    ],
)
def test_a_variable_of_another_program_is_no_false_alarm(name: str) -> None:
    assert find_misspelt([name], [*KNOWN, "PORT"]) == {}


def test_a_setting_and_its_near_miss_together_are_two_things() -> None:
    assert find_misspelt(["DATABASE_URI", "DATABASE_URL"], KNOWN) == {}
    assert find_misspelt(KNOWN, KNOWN) == {}


def test_the_environment_is_read_and_values_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKN", "s3cret")
    monkeypatch.setenv("PGSSLMOD", "require")
    assert "HF_TOKN is not a setting: did you mean HF_TOKEN?" in misspelt_variables()
    assert not any("s3cret" in sentence or "PGSSLMOD" in sentence for sentence in misspelt_variables())
