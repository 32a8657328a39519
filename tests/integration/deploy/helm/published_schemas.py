"""Checks objects against the schemas of Kubernetes, KEDA and the Prometheus operator; unknown fields are refused.

Kubernetes's come in the package kubernetes-validate, the others' as pydantic models in cloudcoil-models-….
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
from pydantic import BaseModel

from tests.integration.deploy.helm.chart import Object

# The oldest that Chart.yaml admits, and the newest of the package.
VERSIONS = ("1.27", kubernetes_validate.latest_version())
_MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}


def check(found: Object) -> None:
    """Raises if the object is not of its kind: a ValidationError that names the field."""
    if found["apiVersion"] in _MODELS:
        _check_custom(found)
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(found, version, strict=True)


def _check_custom(found: Object) -> None:
    model: type[BaseModel] = getattr(import_module(_MODELS[found["apiVersion"]]), found["kind"])
    parsed = model.model_validate(found)
    kept = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)
    unknown = sorted(_paths(found) - _paths(kept))
    if unknown:
        raise ValueError(f"{found['kind']} has no field {', '.join(unknown)}")


def _paths(value: Any, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        return set().union(*(_paths(v, f"{prefix}.{k}") for k, v in value.items()), {prefix})
    if isinstance(value, list):
        return set().union(*(_paths(v, f"{prefix}[{i}]") for i, v in enumerate(value)), {prefix})
    return {prefix}
