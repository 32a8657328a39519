"""The query of KEDA's trigger on a real Postgres; what it counts is tested in tests/integration/sql/test_backlog.py."""

from __future__ import annotations

import math
from typing import Any

import psycopg

from tests.integration.deploy.helm.chart import Object, pick, render, rendered_example


def trigger_of(objects: Any) -> Object:
    [trigger] = pick(objects, "ScaledObject")["spec"]["triggers"]
    metadata: Object = trigger["metadata"]
    return metadata


def pods(connection: psycopg.Connection[Any], scaled: Object) -> int:
    """The number of pods by the formula that docs/kubernetes.md gives for KEDA and its HorizontalPodAutoscaler."""
    [trigger] = scaled["triggers"]
    row = connection.execute(trigger["metadata"]["query"].encode()).fetchone()
    assert row is not None
    assert len(row) == 1
    backlog = float(row[0])
    if backlog <= float(trigger["metadata"]["activationTargetQueryValue"]):
        return int(scaled["minReplicaCount"])
    wanted = math.ceil(backlog / float(trigger["metadata"]["targetQueryValue"]))
    return max(1, int(scaled["minReplicaCount"]), min(wanted, int(scaled["maxReplicaCount"])))


def test_pods_follow_the_backlog_to_zero_and_back(database_url: str) -> None:
    [scaled] = [
        o["spec"]
        for o in render(
            ingest={"enabled": True, "autoscaling": {"enabled": True, "rowsPerReplica": 10, "maxReplicas": 3}},
            model={"volume": {"type": "emptyDir"}},
        )
        if o["kind"] == "ScaledObject"
    ]
    with psycopg.connect(database_url, autocommit=True) as db:
        assert pods(db, scaled) == 0
        db.execute("create table items (id bigint primary key, title text)")
        db.execute("select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")
        db.execute("update sidecar_internal.scans set finished_at = now()")
        found = [pods(db, scaled)]
        for last in (1, 10, 11, 1000):
            db.execute(
                "insert into items select i, 'x' from generate_series(%s::int, %s::int) i on conflict do nothing",
                [1, last],
            )
            found.append(pods(db, scaled))
        assert found == [0, 1, 1, 2, 3]
        db.execute("select sidecar.pause()")
        assert pods(db, scaled) == 0
        db.execute("select sidecar.resume()")
        assert pods(db, scaled) == 3
        db.execute("delete from sidecar_internal.events_1")
        assert pods(db, scaled) == 0


def test_the_query_of_a_model_is_quoted(database_url: str) -> None:
    objects = render(
        ingest={"enabled": True, "autoscaling": {"enabled": True, "model": "it's/one"}},
        model={"volume": {"type": "emptyDir"}},
    )
    with psycopg.connect(database_url) as db:
        row = db.execute(trigger_of(objects)["query"].encode()).fetchone()
    assert row == (0,)


def test_the_example_asks_for_the_backlog_of_all_watches() -> None:
    assert trigger_of(rendered_example("scale-to-zero"))["query"] == "select sidecar.backlog()"
