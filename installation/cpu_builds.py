"""The CPU builds of PyTorch that the package index of this machine's pip has: versions such as 2.14.1+cpu."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_CPU = re.compile(r"(\d+(?:\.\d+)*)\+cpu")
_PINNED = re.compile(r"^(torch|torchvision)==(\S+)$", re.MULTILINE)
_LOWEST = (2, 6)  # as in pyproject.toml


def read_versions(printed: str) -> list[str]:
    """The versions that `pip index versions` printed, the newest first; it leaves out wheels for other machines."""
    found = _VERSIONS.search(printed)
    return found.group(1).split(", ") if found else []


def choose_cpu_build(versions: Iterable[str], constraints: str) -> str | None:
    """The CPU build of the version in `constraints`, else the newest one that the code can use; None without any."""
    builds = {match.group(1): version for version in versions if (match := _CPU.fullmatch(version))}
    pinned = dict(_PINNED.findall(constraints)).get("torch", "")
    usable = [version for version in builds if _as_numbers(version) >= _LOWEST]
    if not usable:
        return None
    return builds[pinned if pinned in usable else max(usable, key=_as_numbers)]


def constrain_to(build: str, constraints: str) -> str:
    """`constraints` with this build of torch, and with the torchvision that belongs to it."""
    pinned = dict(_PINNED.findall(constraints))
    lines = [line for line in constraints.splitlines() if not _PINNED.match(line)]
    if build == f"{pinned.get('torch')}+cpu" and "torchvision" in pinned:
        lines.append(f"torchvision=={pinned['torchvision']}")  # else pip takes the one that asks for this torch
    return "\n".join([*lines, f"torch=={build}", ""])


def _as_numbers(version: str) -> Sequence[int]:
    return tuple(map(int, version.split(".")))
