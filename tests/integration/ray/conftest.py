"""One cluster for all tests: a head and two more nodes, each with one GPU that Ray believes in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.ray.local_cluster import LocalCluster


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Where the tests are not asked for, nothing imports Ray, which takes seconds."""
    return True if "not ray" in config.option.markexpr else None


@pytest.fixture
def cluster(_cluster: LocalCluster) -> LocalCluster:
    """With all its nodes, if a test before has removed one."""
    _cluster.complete()
    return _cluster


@pytest.fixture(scope="session")
def _cluster() -> Iterator[LocalCluster]:
    from tests.integration.ray.local_cluster import LocalCluster

    directory = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        with LocalCluster.running(directory) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    """The variables of the process that deploys; the replicas must get them from it."""
    variables = {
        "DATABASE_URL": database_url,
        "REQUIRE_CUDA": "0",
        "DECODE_PROCESSES": "1",
        "POLL_INTERVAL_S": "0.2",
        "RERANK": "off",
        "SHUTDOWN_TIMEOUT_S": "5",
        "LOG_LEVEL": "WARNING",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield
    for name in variables:
        os.environ.pop(name, None)
