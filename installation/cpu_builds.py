"""The CPU builds of PyTorch that the package index of this machine's pip has: versions such as 2.14.1+cpu."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_CPU = re.compile(r"(\d+(?:\.\d+)*)\+cpu")
_PINNED = re.compile(r"^(torch|torchvision)==(\S+)$", re.MULTILINE)
_LOWEST = (2, 6)  # as in pyproject.toml


def read_versions(printed: str) -> list[str]:
    """The versions that `pip index versions` printed, the newest first; it leaves out wheels for other machines."""
    found = _VERSIONS.search(printed)
    return found.group(1).split(", ") if found else []


def choose_cpu_builds(torch: Iterable[str], torchvision: Iterable[str], constraints: str) -> dict[str, str] | None:
    """CPU builds of both packages, out of their versions: the pair in `constraints`, else the newest that is usable.

    None without a pair: with a torchvision for CUDA, a torch for CPUs cannot be imported.
    """
    pinned = dict(_PINNED.findall(constraints))
    visions = _cpu_builds(torchvision)
    pairs = {
        number: {"torch": build, "torchvision": visions[vision]}
        for number, build in _cpu_builds(torch).items()
        if number >= _LOWEST and (vision := _partner(number)) in visions
    }
    if not pairs:
        return None
    wanted = _as_numbers(pinned["torch"]) if "torch" in pinned else ()
    return pairs[wanted if wanted in pairs else max(pairs)]


def constrain_to(builds: Mapping[str, str], constraints: str) -> str:
    """`constraints` with these builds in place of the versions it names."""
    lines = [line for line in constraints.splitlines() if not _PINNED.match(line)]
    return "\n".join([*lines, *(f"{name}=={build}" for name, build in builds.items()), ""])


def _cpu_builds(versions: Iterable[str]) -> dict[tuple[int, ...], str]:
    return {_as_numbers(match.group(1)): each for each in versions if (match := _CPU.fullmatch(each))}


def _partner(torch: tuple[int, ...]) -> tuple[int, ...]:
    """The torchvision made for a torch: 0.29.1 for 2.14.1, as for all of 2.x so far."""
    return (0, torch[1] + 15, *torch[2:])


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
