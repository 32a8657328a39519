from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sidecar.config import set_openmp_defaults
from sidecar.cpus import count_cpus, count_cpus_of_quota, sums_int8_exactly

HOST = "0::/kubepods/pod7/app\n"
HOST_V1 = "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n"


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def write_groups(root: Path, own: str, files: Mapping[str, str]) -> Path:
    for name, text in {
        "proc/self/cgroup": own,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "200000 100000\n"}, 2, id="a container's own group"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 2, id="part of a CPU counts as one"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000\n"}, 1, id="half a CPU"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, 8, id="no quota"),
        pytest.param("0::/\n", {"cpu.max": "6400000 100000\n"}, 8, id="a quota above the affinity"),
        pytest.param(
            HOST, {"kubepods/cpu.max": "400000 100000", "kubepods/pod7/app/cpu.max": "max 100000"}, 4, id="around it"
        ),
        pytest.param(HOST, {"cpu.max": "300000 100000"}, 3, id="a path of the host"),
        pytest.param(
            HOST_V1,
            {"cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "250000", "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000"},
            3,
            id="version 1",
        ),
        pytest.param(
            HOST_V1,
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            8,
            id="version 1 without a quota",
        ),
        pytest.param("0::/\n", {"cpu.max": "nonsense\n"}, 8, id="a file of another form"),
    ],
)
def test_a_quota_limits_the_cpus(tmp_path: Path, own: str, files: dict[str, str], expected: int) -> None:
    assert count_cpus(write_groups(tmp_path, own, files)) == expected


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert count_cpus(tmp_path) == 8


@pytest.mark.parametrize(("limit", "expected"), [("300000 100000\n", 3), ("max 100000\n", None)])
def test_a_quota_is_told_from_the_affinity_which_libraries_know_by_themselves(
    tmp_path: Path, limit: str, expected: int | None
) -> None:
    assert count_cpus_of_quota(write_groups(tmp_path, "0::/\n", {"cpu.max": limit})) == expected


@pytest.mark.parametrize(
    ("limit", "chosen", "expected"),
    [("300000 100000\n", None, "3"), ("300000 100000\n", "5", "5"), ("max 100000\n", None, None)],
)
def test_pytorch_gets_a_thread_for_each_cpu_of_the_quota_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, chosen: str | None, expected: str | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    set_openmp_defaults(write_groups(tmp_path, "0::/\n", {"cpu.max": limit}))
    assert os.environ.get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize(
    ("machine", "flags", "is_exact"),
    [
        ("x86_64", "fpu sse4_2 avx2 fma", False),
        ("x86_64", "fpu avx2 avx512f avx512_vnni", True),
        ("AMD64", "fpu avx2 avx_vnni", True),
        ("x86_64", None, False),
        ("aarch64", None, True),
    ],
)
def test_bytes_are_summed_exactly_with_vnni_and_beside_x86(
    tmp_path: Path, machine: str, flags: str | None, *, is_exact: bool
) -> None:
    if flags is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert sums_int8_exactly(tmp_path, machine) is is_exact
