"""Values that cannot work are refused, with a message that says what to set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.deploy.helm.chart import refusal, render

URL = "postgresql://worker:secret@postgres/shop"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": {}}, "image.repository: name the registry and repository that you pushed the image to"),
        ({"image": {"repository": "r/x", "tag": "latest"}}, "image.tag"),
        ({"image": {"repository": "r/x", "digest": "sha256:1"}}, "image.digest: Does not match pattern"),
        ({"imagge": {}}, "Additional property imagge is not allowed"),
        ({"queries": {"replica": 2}}, "Additional property replica is not allowed"),
        ({"queries": {"replicas": "two"}}, "queries.replicas: Invalid type"),
        ({"queries": {"gpu": {"count": -1}}}, "queries.gpu.count: Must be greater than or equal to 0"),
        ({"queries": {"enabled": False}}, "nothing would run"),
        ({"database": {}, "ingest": {"enabled": True}}, "there is no database: set database.existingSecret"),
        ({"database": {"existingSecret": "a", "url": URL}}, "which one is meant? Remove the other."),
        ({"database": {"url": "mysql://x"}}, "database.url: Does not match pattern"),
        ({"database": {"existingSecret": "a", "listenUrl": URL}}, "set database.listenKey"),
        ({"database": {"url": URL, "listenKey": "a"}}, "set database.listenUrl"),
        ({"database": {}, "searchDatabase": {"url": URL}}, "searchDatabase names a standby, but there is no database"),
        ({"searchDatabase": {"existingSecret": "a", "url": URL}}, "remove one of them"),
        ({"migrate": {"database": {"existingSecret": "a", "url": URL}}}, "remove one of them"),
        ({"apiKeys": {}}, "Whom to serve? Set apiKeys.existingSecret"),
        ({"apiKeys": {"anonymous": True, "existingSecret": "a"}}, "Remove either."),
        ({"apiKeys": {"keys": ["short"]}}, "apiKeys.keys.0: Does not match pattern"),
        ({"apiKeys": {"keys": ["k" * 16], "existingSecret": "a"}}, "put the keys into that Secret, or remove it"),
        ({"model": {"volume": {"type": "existingClaim"}}}, "model.volume.existingClaim is empty: name the claim"),
        ({"model": {"volume": {"type": "nfs"}}}, "model.volume.type must be one of"),
        ({"queries": {"replicas": 2}}, "up to 2 pods would share one claim with accessModes"),
        ({"queries": {"updateStrategy": {"maxSurge": 1}}}, "up to 2 pods would share one claim"),
        ({"ingest": {"enabled": True, "autoscaling": {"enabled": True}}}, "up to 5 pods would share one claim"),
        ({"queries": {"updateStrategy": {"maxUnavailable": 0}}}, "no pod could ever be replaced"),
        ({"ingest": {"autoscaling": {"enabled": True}}}, "only a Deployment of its own can be scaled to zero"),
        (
            {
                "ingest": {"enabled": True, "autoscaling": {"enabled": True, "minReplicas": 5}},
                "model": {"volume": {"type": "emptyDir"}},
            },
            "minReplicas (5) is above maxReplicas (4)",
        ),
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, "/metrics asks for a key of scope admin"),
        ({"ingress": {"enabled": True}}, "ingress.hosts is empty: name the hosts"),
        (
            {"queries": {"enabled": False}, "ingest": {"enabled": True}, "ingress": {"enabled": True, "hosts": ["a"]}},
            "nothing would answer",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any], said: str) -> None:
    assert said in refusal(**values)


def test_keys_and_urls_never_appear_in_a_refusal() -> None:
    said = refusal(apiKeys={"keys": ["secret"]}, database={"url": "mysql://worker:hidden@x"})
    assert "hidden" not in said
    assert "'secret'" not in said


def test_more_pods_may_share_a_volume_that_many_nodes_can_mount() -> None:
    shared = {"volume": {"accessModes": ["ReadWriteMany"]}}
    assert render(queries={"replicas": 3, "updateStrategy": {"maxSurge": 1}}, model=shared)
