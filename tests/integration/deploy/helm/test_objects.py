"""What the examples render: valid objects, that keep what the page promises."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping

import pytest

from sidecar.config import Settings
from tests.integration.deploy.helm.chart import (
    CHART,
    EXAMPLES,
    Object,
    container_of,
    example,
    helm,
    parse,
    pick,
    plain_env,
    pod_of,
    render,
    rendered_example,
)
from tests.integration.deploy.helm.published_schemas import check

# What the examples expect to be there before.
EXISTING = {
    *("sidecar-worker", "sidecar-installer", "sidecar-reader", "sidecar-keys", "sidecar-metrics", "hugging-face"),
    "sidecar-standby",
    *("postgres-ca", "models"),
}
_RENDERED = {f"{e}-{o['kind']}-{o['metadata']['name']}": o for e in EXAMPLES for o in rendered_example(e)}
ALL = [pytest.param(found, id=name) for name, found in _RENDERED.items()]
PODS = [pytest.param(found, id=name) for name, found in _RENDERED.items() if pod_of(found) is not None]
DEPLOYMENTS = [pytest.param(found, id=name) for name, found in _RENDERED.items() if found["kind"] == "Deployment"]
_HOOK, _WEIGHT = "helm.sh/hook", "helm.sh/hook-weight"


def spec_of(found: Object) -> Object:
    pod = pod_of(found)
    assert pod is not None
    spec: Object = pod["spec"]
    return spec


@pytest.mark.parametrize("found", ALL)
def test_an_object_matches_the_published_schema(found: Object) -> None:
    check(found)


@pytest.mark.parametrize(
    ("example", "kind", "place", "name"),
    [
        ("gpu", "Deployment", ("spec", "template", "spec"), "terminationGracePeriod"),
        ("gpu", "ServiceMonitor", ("spec", "endpoints", 0), "intervall"),
        ("scale-to-zero", "ScaledObject", ("spec", "triggers", 0), "metdata"),
        ("scale-to-zero", "TriggerAuthentication", ("spec", "secretTargetRef", 0), "secret"),
    ],
)
def test_a_misspelt_field_does_not_match(example: str, kind: str, place: tuple[str | int, ...], name: str) -> None:
    found = copy.deepcopy(next(o for o in rendered_example(example) if o["kind"] == kind))
    inner = found
    for step in place:
        inner = inner[step]  # type: ignore[index]
    inner[name] = "1"
    with pytest.raises(Exception, match=name):
        check(found)


@pytest.mark.parametrize("found", PODS)
def test_a_pod_runs_without_privileges_on_a_root_that_is_read_only(found: Object) -> None:
    spec, container = spec_of(found), container_of(found)
    assert spec["automountServiceAccountToken"] is False
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 10001, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert "emptyDir" in mounts["/tmp"]  # noqa: S108
    assert "emptyDir" in mounts["/home/sidecar"]


@pytest.mark.parametrize("found", PODS)
def test_a_pod_has_an_image_of_one_version_and_bounded_resources(found: Object) -> None:
    container = container_of(found)
    assert re.search(r":\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$", container["image"])
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("found", PODS)
def test_no_secret_is_in_a_pods_own_object(found: Object) -> None:
    container = container_of(found)
    values = plain_env(container)
    secrets = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secrets >= {"DATABASE_URL", "API_KEYS", "HF_TOKEN"}
    assert not secrets & values.keys()
    assert "secret@" not in str(found)
    assert container["args"] in (["serve"], ["migrate"], ["doctor"])


@pytest.mark.parametrize("found", DEPLOYMENTS)
def test_a_deployment_has_the_three_probes(found: Object) -> None:
    container = container_of(found)
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/readyz", "liveness": "/livez", "readiness": "/readyz"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800


@pytest.mark.parametrize("found", DEPLOYMENTS)
def test_a_pod_is_given_longer_than_the_process_takes_to_stop(found: Object) -> None:
    container = container_of(found)
    [_, seconds] = container["lifecycle"]["preStop"]["exec"]["command"]
    timeout = float(plain_env(container)["SHUTDOWN_TIMEOUT_S"])
    assert spec_of(found)["terminationGracePeriodSeconds"] == int(seconds) + timeout + 10


def test_the_grace_period_follows_the_settings() -> None:
    [deployment] = [o for o in render(pods={"shutdownSeconds": 90.5, "preStopSeconds": 0}) if o["kind"] == "Deployment"]
    assert spec_of(deployment)["terminationGracePeriodSeconds"] == 101
    assert "lifecycle" not in container_of(deployment)


@pytest.mark.parametrize("name", EXAMPLES)
def test_selectors_match_exactly_the_pods_they_are_for(name: str) -> None:
    objects = rendered_example(name)
    pods = {o["metadata"]["name"]: o["spec"]["template"] for o in objects if o["kind"] == "Deployment"}
    assert pods
    for found in objects:
        if found["kind"] in ("Service", "PodDisruptionBudget", "Deployment"):
            selector = found["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            matched = [
                pod for pod, template in pods.items() if selector.items() <= template["metadata"]["labels"].items()
            ]
            assert matched == [found["metadata"]["name"]], found["kind"]
    services = [o for o in objects if o["kind"] == "Service"]
    assert len(services) == len(pods)
    for monitor in (o for o in objects if o["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert all(wanted <= service["metadata"]["labels"].items() for service in services)


def test_the_network_policy_holds_for_each_pod_of_the_release() -> None:
    objects = render(networkPolicy={"enabled": True}, ingest={"enabled": True}, model={"volume": {"type": "emptyDir"}})
    policies = [o["spec"]["podSelector"] for o in objects if o["kind"] == "NetworkPolicy"]
    pods = [pod for o in objects if (pod := pod_of(o)) is not None]
    assert len(pods) == 4  # queries, ingest, migrate, doctor
    for pod in pods:
        assert [_matches(policy, pod["metadata"]["labels"]) for policy in policies].count(True) == 1


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    return selector["matchLabels"].items() <= labels.items() and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", ())
    )


def test_the_network_policy_opens_what_was_named_and_dns() -> None:
    [policy] = [o for o in rendered_example("offline") if o["kind"] == "NetworkPolicy" and _HOOK not in str(o)]
    dns, database = policy["spec"]["egress"]
    assert dns == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert database["to"] == [{"ipBlock": {"cidr": "10.20.0.0/24"}}]
    assert [port["port"] for port in database["ports"]] == [5432, 6432]
    [http] = policy["spec"]["ingress"]
    assert http["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert [str(peer) for peer in http["from"]] == [
        str({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}})
        for name in ("shop", "monitoring")
    ]


@pytest.mark.parametrize("resources", [None, {"limits": None}, {"requests": None}, {"limits": {"memory": None}}])
def test_limits_and_requests_may_be_removed(resources: Object | None) -> None:
    objects = render(queries={"resources": resources}, migrate={"resources": resources})
    for found in objects:
        check(found)
    limits = container_of(pick(objects, "Deployment"))["resources"].get("limits", {})
    assert limits["nvidia.com/gpu"] == 1
    assert ("memory" in limits) == (resources == {"requests": None})


def test_more_outgoing_connections_are_those_of_all_pods() -> None:
    rule = {"ports": [{"port": 5353, "protocol": "UDP"}]}
    objects = render(networkPolicy={"enabled": True, "extraEgress": [rule]})
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    assert [rule in policy["spec"]["egress"] for policy in policies] == [True, True]


@pytest.mark.parametrize("name", EXAMPLES)
def test_everything_that_a_pod_mounts_or_runs_as_exists_when_it_starts(name: str) -> None:
    objects = rendered_example(name)
    for found in objects:
        if pod_of(found) is None:
            continue
        # A hook runs before the first install: nothing is there but the hooks of a lower weight.
        there = {o["metadata"]["name"] for o in objects if _is_before(o, found)}
        assert _needs(found) <= there | EXISTING | {"restricted", "default"}, found["metadata"]["name"]


def _is_before(other: Object, found: Object) -> bool:
    annotations, others = found["metadata"].get("annotations", {}), other["metadata"].get("annotations", {})
    if annotations.get(_HOOK) != "pre-install,pre-upgrade":
        return _HOOK not in others
    return others.get(_HOOK) == annotations[_HOOK] and int(others[_WEIGHT]) < int(annotations[_WEIGHT])


def _needs(found: Object) -> set[str]:
    spec = spec_of(found)
    return {spec["serviceAccountName"], *_sources(spec)} | {
        entry["valueFrom"]["secretKeyRef"]["name"] for entry in container_of(found)["env"] if "valueFrom" in entry
    }


def _sources(spec: Object) -> Iterator[str]:
    for volume in spec["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        if "configMap" in volume:
            yield volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]


def test_the_hook_migrates_as_the_owner_and_the_pods_work_as_the_worker() -> None:
    objects = rendered_example("gpu")
    job, deployment = pick(objects, "Job"), pick(objects, "Deployment")
    assert "sidecar-installer" in _needs(job)
    assert "sidecar-worker" not in _needs(job)
    assert "sidecar-worker" in _needs(deployment)
    assert "sidecar-installer" not in _needs(deployment)


def test_a_pooler_is_bypassed_by_the_hook_that_has_only_the_workers_secret() -> None:
    objects = render(database={"existingSecret": "worker", "key": "pooler", "listenKey": "direct"})
    [volume] = [v for v in spec_of(pick(objects, "Job"))["volumes"] if v["name"] == "database"]
    assert volume["secret"]["items"] == [{"key": "direct", "path": "DATABASE_URL"}]


def test_a_changed_url_restarts_the_pods_and_a_changed_key_does_not() -> None:
    def checksum(**values: object) -> str:
        [deployment] = [o for o in render(**values) if o["kind"] == "Deployment"]
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/secrets"])

    one, other = ({"url": f"postgresql://worker:{password}@postgres/shop"} for password in ("one", "other"))
    assert checksum(database=one) != checksum(database=other)
    keys = [{"keys": [letter * 16]} for letter in "ab"]
    assert checksum(apiKeys=keys[0]) == checksum(apiKeys=keys[1])


def test_a_gpu_is_asked_for_where_one_is_needed() -> None:
    limits = {name: container_of(_first_deployment(name))["resources"]["limits"] for name in ("gpu", "cpu")}
    assert limits["gpu"]["nvidia.com/gpu"] == 1
    assert not any("gpu" in resource for resource in limits["cpu"])


def _first_deployment(name: str) -> Object:
    return next(o for o in rendered_example(name) if o["kind"] == "Deployment")


@pytest.mark.parametrize("found", DEPLOYMENTS)
def test_an_update_needs_no_free_gpu_unless_asked_for(found: Object, request: pytest.FixtureRequest) -> None:
    surge = found["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert surge == (1 if "offline-" in request.node.name else 0)


def test_keda_owns_the_number_of_pods_that_it_scales() -> None:
    objects = rendered_example("scale-to-zero")
    scaled = pick(objects, "ScaledObject")["spec"]
    deployment = pick(objects, "Deployment", scaled["scaleTargetRef"]["name"])
    assert "replicas" not in deployment["spec"]
    assert pick(objects, "Deployment", "sidecar-sidecar-embeddings")["spec"]["replicas"] == 2
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 8)
    [trigger] = scaled["triggers"]
    assert trigger["metadata"] == {
        "query": "select sidecar.backlog()",
        "targetQueryValue": "50000",
        "activationTargetQueryValue": "0",
    }
    authentication = pick(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    assert authentication["secretTargetRef"] == [
        {"parameter": "connection", "name": "sidecar-reader", "key": "DATABASE_URL"}
    ]


def test_a_variable_of_the_operators_replaces_the_charts_own() -> None:
    extra = [{"name": name, "value": "mine"} for name in ("HF_HOME", "HF_TOKEN", "DATABASE_URL_FILE")]
    objects = render(huggingFace={"existingSecret": "token"}, pods={"extraEnv": extra})
    containers = [container_of(found) for found in objects if pod_of(found) is not None]
    assert len(containers) == 3
    for container in containers:
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names)), names
        assert [plain_env(container)[variable["name"]] for variable in extra] == ["mine"] * 3


@pytest.mark.parametrize("release", ["123", "shop.v2", "r" * 53])
def test_every_name_that_helm_gives_a_release_is_one_for_its_objects(release: str) -> None:
    ended = helm("template", release, CHART, "--values", example("scale-to-zero"))
    assert ended.returncode == 0, ended.stderr
    for found in parse(ended.stdout):
        check(found)
        if found["kind"] == "Service":
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", found["metadata"]["name"])
