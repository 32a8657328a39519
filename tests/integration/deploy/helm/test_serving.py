"""The programs of the rendered pods, started with exactly their variables, against a real Postgres.

Each mount is a directory of the test. Where the machine allows it (unshare), all else is read-only, as in the pod.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from tests.encoders import HashEncoder
from tests.integration.deploy.helm.chart import ROOT, Object, container_of, example, pick, plain_env, render
from tests.integration.server.process import Process
from tests.ports import find_free_port
from tests.waiting import wait_until

KEYS = "embed+search:0123456789abcdef\nadmin:fedcba9876543210\n"
SIDECAR = ("-c", "from sidecar.cli import main; main()")
WITHOUT_TORCH = ("-m", "tests.integration.server.program", "hash")  # as `sidecar serve`, with a stand-in for the model
_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind / / && exec "$@"'


def read_only_root(pod: Path) -> list[str]:
    """The beginning of a command that can write to `pod` only; empty where the machine does not allow it."""
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", _READ_ONLY, str(pod)]
    allowed = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if allowed and allowed.returncode == 0 else []


class Pod:
    """The container of a rendered object, with its mounts below `directory` and its Secrets in them."""

    def __init__(self, found: Object, directory: Path, secrets: Mapping[str, str]) -> None:
        self.container = container_of(found)
        template: dict[str, Any] = found["spec"].get("template", found)
        self.directory = directory
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        self._mounts = {mount["mountPath"]: directory / mount["name"] for mount in self.container["volumeMounts"]}
        for mount in self.container["volumeMounts"]:
            place = self._mounts[mount["mountPath"]]
            place.mkdir(parents=True)
            for item in volumes[mount["name"]].get("secret", {}).get("items", ()):
                (place / item["path"]).write_text(secrets[item["path"]])

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, with mounted paths where they are here, and no others of ours."""
        port = {"BIND_PORT": str(find_free_port())}
        values = {name: self._moved(value) for name, value in plain_env(self.container).items()}
        return {"PATH": os.environ["PATH"], "TMPDIR": self._moved("/tmp"), **values, **port}  # noqa: S108

    def command(self, program: Sequence[str] = SIDECAR) -> list[str]:
        return [*read_only_root(self.directory), sys.executable, "-B", *program, *self.container["args"]]

    def path(self, mounted: str) -> Path:
        return Path(self._moved(mounted))

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(), env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    @contextmanager
    def running(self, program: Sequence[str] = SIDECAR) -> Iterator[Process]:
        environment = self.environment
        log_path = self.directory.with_suffix(".log")
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                self.command(program), env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield Process(process, f"http://127.0.0.1:{environment['BIND_PORT']}", log_path)
        finally:
            process.kill()
            process.wait()

    def _moved(self, value: str) -> str:
        for mounted, place in self._mounts.items():
            if value == mounted or value.startswith(f"{mounted}/"):
                return f"{place}{value.removeprefix(mounted)}"
        return value


def probe(pod: Pod, process: Process, name: str) -> int | None:
    asked = pod.container[f"{name}Probe"]["httpGet"]
    assert asked["port"] == pod.container["ports"][0]["name"]
    return process.ask(asked["path"])


@pytest.mark.parametrize(
    ("program", "settings"),
    [
        pytest.param(WITHOUT_TORCH, {"RERANK": "off"}, id="a stand-in"),
        pytest.param(
            SIDECAR, {"VISION_MODEL_ID": "demo", "RERANK": "off"}, id="the demo's model", marks=pytest.mark.long
        ),
    ],
)
def test_the_pods_migrate_serve_and_pass_their_probes(
    open_tmp_path: Path, plain_database_url: str, program: Sequence[str], settings: Mapping[str, str]
) -> None:
    values = yaml.safe_load(example("cpu").read_text())
    objects = render(**{**values, "settings": settings})
    secrets = {"DATABASE_URL": plain_database_url}
    migrated = Pod(pick(objects, "Job"), open_tmp_path / "migrate", secrets).run()
    assert migrated.returncode == 0, migrated.stderr
    with psycopg.connect(plain_database_url, autocommit=True) as db:
        db.execute("create table items (id bigint primary key, title text)")
        dimensions = 1152 if program == SIDECAR else HashEncoder().dimensions
        db.execute("select sidecar.watch('items', 'title', target => 'e', dimensions => %s)", [dimensions])
        db.execute("insert into items values (1, 'a red apple')")
    serving = Pod(pick(objects, "Deployment"), open_tmp_path / "serve", secrets)
    with serving.running(program) as process:
        wait_until(lambda: process.ask("/livez") is not None, lambda: process.log, 60)
        wait_until(lambda: probe(serving, process, "startup") == 200, lambda: process.log, 60)
        assert (probe(serving, process, "liveness"), probe(serving, process, "readiness")) == (200, 200)
        with psycopg.connect(plain_database_url, autocommit=True) as db:
            db.execute("call sidecar.wait_embedded('items', '{\"id\": 1}', timeout_ms => 20000)")
        checked = Pod(pick(objects, "Pod"), open_tmp_path / "doctor", secrets).run()
        assert checked.returncode in (0, 3), checked.stderr
        process.stop(signal.SIGTERM)
        assert process.exit_code() == 0, process.log


def test_queries_and_rows_are_two_processes_and_a_new_key_needs_no_restart(
    open_tmp_path: Path, database_url: str
) -> None:
    objects = render(
        settings={"RERANK": "off"},
        model={"offline": True, "volume": {"type": "emptyDir"}},
        queries={"gpu": {"count": 0}},
        ingest={"enabled": True, "gpu": {"count": 0}},
    )
    secrets = {"DATABASE_URL": database_url, "api-keys": KEYS}
    [queries, ingest] = [
        Pod(o, open_tmp_path / o["metadata"]["name"], secrets) for o in objects if o["kind"] == "Deployment"
    ]
    with queries.running(WITHOUT_TORCH) as asked, ingest.running(WITHOUT_TORCH) as embedding:
        for pod, process, state in ((queries, asked, "off"), (ingest, embedding, "running")):
            wait_until(lambda pod=pod, p=process: probe(pod, p, "startup") == 200, lambda p=process: p.log, 90)  # type: ignore[misc]
            status = httpx.get(f"{process.url}/status", headers={"Authorization": "Bearer fedcba9876543210"}).json()
            assert status["ingest"].startswith(state), status

        def status_with(key: str) -> int:
            return httpx.get(f"{asked.url}/status", headers={"Authorization": f"Bearer {key}"}).status_code

        assert status_with("another-key-of-ours") == 401
        keys = queries.path("/etc/sidecar/keys/api-keys")
        (keys.parent / "new").write_text(f"{KEYS}admin:another-key-of-ours\n")
        (keys.parent / "new").rename(keys)
        wait_until(lambda: status_with("another-key-of-ours") == 200, "the new key", 20)


def test_a_pod_cannot_write_outside_of_its_mounts(open_tmp_path: Path) -> None:
    """What the tests above rest on."""
    inside, outside = open_tmp_path / "inside", open_tmp_path / "outside"
    inside.mkdir()
    prefix = read_only_root(inside)
    if not prefix:
        pytest.skip("this machine lets nobody make a mount namespace (unshare)")
    assert subprocess.run([*prefix, "touch", inside / "a"], check=False).returncode == 0
    assert subprocess.run([*prefix, "touch", outside], check=False, capture_output=True).returncode != 0
