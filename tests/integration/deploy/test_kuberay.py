"""deploy/kuberay/rayservice.yaml: its pods are valid, and Ray Serve reads its application.

Compared with KubeRay's CustomResourceDefinition by hand only: no package has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from sidecar.config import Settings, variable_names

RAY_SERVICE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "deploy" / "kuberay" / "rayservice.yaml").read_text()
)
CLUSTER = RAY_SERVICE["spec"]["rayClusterConfig"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


@pytest.mark.parametrize("group", GROUPS, ids=["head", "gpu"])
def test_its_pods_match_kubernetes_schema(group: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("group", GROUPS, ids=["head", "gpu"])
def test_its_pods_have_no_privileges_no_secrets_and_a_version(group: dict[str, Any]) -> None:
    spec = group["template"]["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["image"].rpartition(":")[2] == "0.1.0"
    known = {name for field in Settings.model_fields for name in variable_names(field)} | {"HF_HOME"}
    names = {entry["name"] for entry in container["env"]}
    assert names <= known
    assert not names & {"DATABASE_URL", "API_KEYS", "HF_TOKEN"}


def test_ray_serve_reads_its_application() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs Ray: pip install '.[ray]'")
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"]))
    [application] = config.applications
    assert (application.import_path, application.route_prefix) == ("sidecar.ray:app", "/")


def test_there_may_be_a_pod_with_a_gpu_for_each_replica() -> None:
    [application] = yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"])["applications"]
    [gpus] = CLUSTER["workerGroupSpecs"]
    assert (gpus["minReplicas"], gpus["maxReplicas"]) == (
        application["args"]["min_replicas"],
        application["args"]["max_replicas"],
    )
    assert gpus["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
