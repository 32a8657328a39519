"""The arguments of `sidecar.ray:app`, and the environment that travels with it."""

from __future__ import annotations

import copy

import pytest

from sidecar.config import load_settings
from sidecar.errors import ConfigurationError
from sidecar.ray.environment import Environment
from sidecar.ray.options import RayOptions, read_options


def test_arguments_may_be_texts_as_serve_run_passes_them() -> None:
    assert read_options({"max_replicas": "8", "gpus_per_replica": "0.5"}) == RayOptions(
        max_replicas=8, gpus_per_replica=0.5
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"min_replicas": 0}, "min_replicas=0: Input should be greater than or equal to 1"),
        ({"min_replicas": 5, "max_replicas": 2}, "max_replicas (2) is less than min_replicas (5)"),
        ({"replicas": 2}, "replicas=2: Extra inputs are not permitted"),
        ({"max_replicas": "many"}, "max_replicas='many': Input should be a valid integer"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_options(arguments)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("variables", "gpus", "cpus"),
    [
        ({}, 1, 4),
        ({"REQUIRE_CUDA": "0"}, 0, 4),
        ({"DECODE_PROCESSES": "7"}, 1, 8),
    ],
)
def test_resources_follow_the_settings(variables: dict[str, str], gpus: float, cpus: float) -> None:
    settings = load_settings(variables)
    assert (RayOptions().gpus(settings), RayOptions().cpus(settings)) == (gpus, cpus)


def test_the_environment_travels_with_our_settings_and_libpqs_and_shows_no_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/shop")
    monkeypatch.setenv("PGAPPNAME", "shop")
    monkeypatch.setenv("BIND_PORT", "9100")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not ours")
    monkeypatch.setenv("CUDA_DEVICE", "cuda:1")
    environment = Environment.of_this_process()
    assert environment.variables == {"DATABASE_URL": "postgresql://me:hunter2@db/shop", "PGAPPNAME": "shop"}
    assert "hunter2" not in repr(environment) + str(environment)
    assert copy.deepcopy(environment) == environment
    assert "CUDA_DEVICE=cuda:1 is not passed on" in caplog.text


def test_a_replica_decodes_with_the_cpus_that_ray_reserves_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_CUDA", "0")
    settings = Environment({}).adopt(RayOptions(cpus_per_replica=5))
    assert settings.decode_processes == 5


def test_without_keys_a_replica_refuses_to_start_where_it_cannot_see_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(ConfigurationError, match="HINT: Set API_KEYS"):
        Environment({}).adopt(RayOptions())
    monkeypatch.setenv("API_KEYS", "a-key-of-16-chars")
    Environment({}).adopt(RayOptions())
