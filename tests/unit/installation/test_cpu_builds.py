"""The CPU build of PyTorch that `make install-cpu` takes, from what pip itself says of an index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from installation.cpu_builds import choose_cpu_builds, constrain_to, read_versions

CONSTRAINTS = "numpy==2.4.6\ntorch==2.14.1\ntorchvision==0.29.1\ntransformers==5.23.0\n"


def make_index(directory: Path, torch: Sequence[str], torchvision: Sequence[str]) -> str:
    """The URL of an index with empty wheels."""
    for package, versions in (("torch", torch), ("torchvision", torchvision)):
        (directory / package).mkdir()
        names = [f"{package}-{version}-py3-none-any.whl" for version in versions]
        for name in names:
            (directory / package / name).touch()
        links = "".join(f'<a href="{name}">{name}</a>' for name in names)
        (directory / package / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return directory.as_uri()


def environment(index: str) -> dict[str, str]:
    """That of a machine whose pip is configured for `index` alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index}


def ask_pip(package: str, index: str) -> list[str]:
    command = [sys.executable, "-m", "pip", "index", "versions", package]
    return read_versions(
        subprocess.run(command, env=environment(index), capture_output=True, text=True, check=True).stdout
    )


def test_pip_says_which_builds_an_index_has(tmp_path: Path) -> None:
    index = make_index(tmp_path, ["2.14.1", "2.14.1+cpu", "2.13.0+cpu"], ["0.29.1+cpu"])
    assert ask_pip("torch", index) == ["2.14.1+cpu", "2.14.1", "2.13.0+cpu"]
    assert ask_pip("torchvision", index) == ["0.29.1+cpu"]


@pytest.mark.parametrize(
    ("torch", "torchvision", "builds"),
    [
        (["2.15.0+cpu", "2.14.1+cpu", "2.14.1"], ["0.30.0+cpu", "0.29.1+cpu"], ("2.14.1+cpu", "0.29.1+cpu")),
        (["2.14.1", "2.9.1+cpu", "2.13.0+cpu"], ["0.28.0+cpu", "0.24.1+cpu"], ("2.13.0+cpu", "0.28.0+cpu")),
        (["2.14.1+cpu", "2.13.0+cpu"], ["0.29.1", "0.28.0+cpu"], ("2.13.0+cpu", "0.28.0+cpu")),
        (["2.14.1+cpu"], ["0.29.1"], None),
        (["2.14.1", "2.14.1+cu130"], ["0.29.1+cpu"], None),
        (["2.5.1+cpu"], ["0.20.1+cpu"], None),
    ],
)
def test_the_pinned_pair_is_taken_else_the_newest_that_belongs_together(
    torch: list[str], torchvision: list[str], builds: tuple[str, str] | None
) -> None:
    expected = None if builds is None else dict(zip(("torch", "torchvision"), builds, strict=True))
    assert choose_cpu_builds(torch, torchvision, CONSTRAINTS) == expected


def test_the_builds_replace_what_the_constraints_name() -> None:
    builds = {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}
    expected = ["numpy==2.4.6", "transformers==5.23.0", "torch==2.13.0+cpu", "torchvision==0.28.0+cpu"]
    assert constrain_to(builds, CONSTRAINTS).splitlines() == expected


def test_an_index_without_both_cpu_builds_is_said_plainly_and_nothing_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "installation", "cpu"]
    index = make_index(tmp_path, ["2.14.1+cpu", "2.14.0"], ["0.29.1"])
    ended = subprocess.run(command, env=environment(index), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("ERROR: The package index that pip uses here has no CPU build of PyTorch")
    assert "of torch: 2.14.1+cpu; of torchvision: none." in ended.stderr
    assert "HINT: PyTorch's install page names an index that has them: make install-cpu INDEX=" in ended.stderr


def test_make_run_installs_no_more_than_it_needs() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "run"], capture_output=True, text=True, check=True
    ).stdout
    assert "-m installation run" in planned
    assert "-m installation all" not in planned
