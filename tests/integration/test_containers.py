"""The image and the compose file, tested without a Docker engine; with one, also a Postgres in a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sidecar.config import Settings, variable_names
from tests.integration.server.process import sidecar_process
from tests.servers import container_server

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = ("migrate", "sidecar", "sidecar-cpu")
SERVING = ("sidecar", "sidecar-cpu")
CUDA = ("nvidia-", "cuda-", "triton")  # pinned by the GPU build of torch itself
INTERPOLATED = re.compile(r"(?<!\$)\$\{(\w+)")


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return found or pytest.skip(f"the program {name} is not installed: pip install '.[dev]'")


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def seconds(duration: str) -> float:
    """The seconds of a duration in compose's notation: '30s', '2m'."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


@pytest.mark.parametrize(
    ("schema", "path"), [("compose-spec", "docker-compose.yml"), ("github-workflows", ".github/workflows/ci.yml")]
)
def test_a_file_matches_its_published_schema(schema: str, path: str, tmp_path: Path) -> None:
    check = [program("check-jsonschema"), "--builtin-schema", f"vendor.{schema}"]
    checked = run(*check, ROOT / path)
    assert checked.returncode == 0, checked.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text((ROOT / path).read_text().replace("services:", "servces:").replace("runs-on:", "run-on:"))
    assert run(*check, broken).returncode != 0


def test_hadolint_accepts_the_dockerfile() -> None:
    linted = run(program("hadolint"), ROOT / "Dockerfile")
    assert (linted.returncode, linted.stdout) == (0, "")


def copied_paths() -> list[str]:
    """The paths that the image copies from the checkout."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return sorted({source for copy in copies for source in copy.split()})


def test_the_build_context_has_only_the_copied_files() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == copied_paths()


def test_the_copied_files_build_the_same_wheel_as_the_checkout(tmp_path: Path) -> None:
    """Builds it by the Dockerfile's own command."""
    [command] = re.findall(r"^RUN (pip wheel .+)$", DOCKERFILE, re.MULTILINE)
    contents = []
    for name, sources in (("image", copied_paths()), ("checkout", [path.name for path in ROOT.iterdir()])):
        source = tmp_path / name
        source.mkdir()
        for path in (ROOT / each for each in sources if each not in (".git", ".venv", ".demo")):
            if path.is_dir():
                shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
            else:
                shutil.copy(path, source)
        wheels = tmp_path / f"{name}-wheels"
        built = run(sys.executable, "-m", *shlex.split(command.replace("/wheels", str(wheels))), cwd=source)
        assert built.returncode == 0, built.stderr
        [wheel] = wheels.glob("*.whl")
        contents.append({item.filename: item.CRC for item in zipfile.ZipFile(wheel).infolist()})
    assert contents[0] == contents[1]
    assert any(name.endswith("/tables/0016_tables.sql") for name in contents[0])


def test_every_requirement_of_the_package_is_pinned() -> None:
    [command] = re.findall(r"python -c '(.+?)' \\", DOCKERFILE)
    printed = run(sys.executable, "-c", command, cwd=ROOT)
    assert (
        printed.stdout.splitlines() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    )
    pins = {canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    unpinned = {name for name in required(printed.stdout.splitlines()) if name not in pins}
    assert not [name for name in unpinned if not name.startswith(CUDA)]


def required(wanted: list[str]) -> set[str]:
    """Names of the packages that `wanted` requires on this machine, transitively."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.add(name)
        for each in map(Requirement, requires(name) or []):
            applies = [each.marker is None or each.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)]
            if any(applies) and canonicalize_name(each.name) not in found:
                waiting.append(each)
    return found


def test_the_last_stage_runs_as_an_unprivileged_user_without_secrets() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in last
    assert 'ENTRYPOINT ["sidecar"]' in last
    assert re.search(r"^VOLUME /models$", last, re.MULTILINE)
    assert "HF_HOME=/models" in last
    assert "BIND_HOST=0.0.0.0" in last
    assert not re.search(r"HF_TOKEN|PASSWORD|DATABASE_URL", DOCKERFILE)
    assert not re.search(r"apt|gcc|build-essential", last)


def health_commands() -> list[list[str]]:
    [image] = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    composed = COMPOSE["services"]["sidecar"]["healthcheck"]["test"]
    assert composed[0] == "CMD"
    return [json.loads(image), composed[1:]]


def test_the_health_checks_fail_until_the_sidecar_is_ready(tmp_path: Path) -> None:
    def check(command: list[str], port: str, **environment: str) -> int:
        assert command[:2] == ["python", "-c"]
        script = command[2].replace("127.0.0.1:9000", f"127.0.0.1:{port}")
        return run(sys.executable, "-c", script, env={**os.environ, **environment}).returncode

    image, composed = health_commands()
    everywhere = {"BIND_HOST": "0.0.0.0", "API_KEYS": "0123456789abcdef"}  # noqa: S104 - as in the image
    for encoder, status in (("hash", 0), ("never", 1)):
        arguments = ("-m", "tests.integration.server.program", encoder)
        with sidecar_process(tmp_path, arguments, SHUTDOWN_TIMEOUT_S="1", **everywhere) as process:
            port = process.url.rpartition(":")[2]
            if status == 0:
                process.await_ready()
            assert check(image, port, BIND_PORT=port) == check(image, port, PORT=port) == status
            assert check(composed, port) == status
    assert check(composed, "1") == 1


def test_the_image_does_not_start_without_api_keys(tmp_path: Path) -> None:
    """Runs the Dockerfile's command with its environment."""
    [command] = re.findall(r'^CMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    program = ("-c", "from sidecar.cli import main; main()", command)
    with sidecar_process(tmp_path, program, BIND_HOST="0.0.0.0", DATABASE_URL="") as process:  # noqa: S104
        assert process.exit_code() == 2
        assert process.log == (
            "ERROR: BIND_HOST='0.0.0.0': without keys only loopback is served. "
            "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if anyone who can reach the port may use it.\n"
        )


def test_compose_starts_nothing_without_keys() -> None:
    for name in SERVING:
        value = COMPOSE["services"][name]["environment"]["API_KEYS"]
        assert re.fullmatch(r"\$\{API_KEYS:\?Set it in \.env to .+ or see ALLOW_ANONYMOUS .+\}", value)
    assert "API_KEYS" not in COMPOSE["services"]["migrate"]["environment"]
    assert not re.search(r"API_KEYS=.|ALLOW_ANONYMOUS=1\s*\\", DOCKERFILE)


def test_every_variable_that_compose_sets_is_a_setting() -> None:
    settings = {name for field in Settings.model_fields for name in variable_names(field)}
    for name in OURS:
        unknown = COMPOSE["services"][name]["environment"].keys() - settings
        assert not unknown, (name, unknown)


def test_the_example_environment_has_exactly_the_variables_that_compose_reads() -> None:
    read = set(INTERPOLATED.findall((ROOT / "docker-compose.yml").read_text()))
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert example == read | {"COMPOSE_PROFILES"}
    assert "POSTGRES_PASSWORD=" in lines
    assert "HF_TOKEN=" in lines
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_services_start_in_order() -> None:
    services = COMPOSE["services"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["command"] == ["migrate"]
    for name in SERVING:
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert services[name]["restart"] == "unless-stopped"
    assert "pg_isready --host=127.0.0.1" in services["postgres"]["healthcheck"]["test"][1]


def test_data_and_models_are_in_volumes() -> None:
    services = COMPOSE["services"]
    assert (services["postgres"]["image"], services["postgres"]["volumes"]) == (
        "pgvector/pgvector:pg18",
        ["postgres:/var/lib/postgresql"],  # a volume at .../data, as up to Postgres 17, would stay empty
    )
    assert all(services[name]["volumes"] == ["models:/models"] for name in SERVING)
    assert set(COMPOSE["volumes"]) == {"postgres", "models"}


def test_compose_allows_time_to_load_and_to_stop() -> None:
    for name in SERVING:
        service = COMPOSE["services"][name]
        assert seconds(service["stop_grace_period"]) > float(service["environment"]["SHUTDOWN_TIMEOUT_S"])
        assert seconds(service["healthcheck"]["start_period"]) >= 1800


def test_only_the_gpu_profile_requires_a_gpu() -> None:
    gpu, cpu = (COMPOSE["services"][name] for name in SERVING)
    assert (gpu["profiles"], cpu["profiles"]) == (["gpu"], ["cpu"])
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "deploy" not in cpu
    assert (gpu["environment"].get("REQUIRE_CUDA"), cpu["environment"]["REQUIRE_CUDA"]) == (None, "0")


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_tests_can_use_a_server_in_a_container(postgres_version: str) -> None:
    if shutil.which("docker") is None or run("docker", "info").returncode != 0:
        pytest.skip("there is no Docker engine here: `docker info` fails")
    with container_server(postgres_version) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("select count(*) from pg_available_extensions where name = 'vector'").fetchone() == (
            1,
        )
