"""The CPU build of PyTorch that `make install-cpu` takes, from what pip itself says of an index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from installation.cpu_builds import choose_cpu_build, constrain_to, read_versions

CONSTRAINTS = "numpy==2.4.6\ntorch==2.14.1\ntorchvision==0.29.1\ntransformers==5.23.0\n"


def make_index(directory: Path, *versions: str) -> str:
    """The URL of an index with empty wheels of torch."""
    (directory / "torch").mkdir()
    names = [f"torch-{version}-py3-none-any.whl" for version in versions]
    for name in names:
        (directory / "torch" / name).touch()
    links = "".join(f'<a href="{name}">{name}</a>' for name in names)
    (directory / "torch" / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return directory.as_uri()


def environment(index: str) -> dict[str, str]:
    """That of a machine whose pip is configured for `index` alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index}


@pytest.mark.parametrize(
    ("versions", "build"),
    [
        (["2.15.0+cpu", "2.14.1+cpu", "2.14.1"], "2.14.1+cpu"),
        (["2.14.1", "2.9.1+cpu", "2.13.0+cpu"], "2.13.0+cpu"),
        (["2.14.1", "2.14.1+cu130"], None),
        (["2.5.1+cpu"], None),
    ],
)
def test_the_pinned_version_is_taken_else_the_newest_that_the_index_has(
    tmp_path: Path, versions: list[str], build: str | None
) -> None:
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    index = make_index(tmp_path, *versions)
    ended = subprocess.run(command, env=environment(index), capture_output=True, text=True, check=True)
    found = read_versions(ended.stdout)
    assert sorted(found) == sorted(versions)
    assert choose_cpu_build(found, CONSTRAINTS) == build


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("2.14.1+cpu", ["numpy==2.4.6", "transformers==5.23.0", "torchvision==0.29.1", "torch==2.14.1+cpu"]),
        ("2.13.0+cpu", ["numpy==2.4.6", "transformers==5.23.0", "torch==2.13.0+cpu"]),
    ],
)
def test_another_torch_gets_the_torchvision_that_belongs_to_it(build: str, expected: list[str]) -> None:
    assert constrain_to(build, CONSTRAINTS).splitlines() == expected


def test_an_index_without_cpu_builds_is_said_plainly_and_nothing_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "installation", "cpu"]
    index = make_index(tmp_path, "2.14.1", "2.14.0")
    ended = subprocess.run(command, env=environment(index), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("ERROR: The package index that pip uses here has no CPU build of PyTorch: of its 2 ")
    assert "HINT: PyTorch's install page names an index that has them: make install-cpu INDEX=" in ended.stderr


def test_make_run_installs_no_more_than_it_needs() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "run"], capture_output=True, text=True, check=True
    ).stdout
    assert "-m installation run" in planned
    assert "-m installation all" not in planned
