"""`targets` of `POST /search`: several vector columns of one table, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel

MAX_TARGETS = 8  # search_targets takes no more
_MAX_NAME_CHARS = 1000  # Postgres' names have at most 63 bytes

TargetName: TypeAlias = Annotated[str, Field(max_length=_MAX_NAME_CHARS)]


class WeightedTarget(RequestModel):
    """A vector column, and how much the places of rows in it count."""

    model_config = ConfigDict(extra="forbid")

    target: TargetName = Field(examples=["photo_embedding"])
    weight: Annotated[float, Field(ge=0, le=1000)] = 1.0


TargetList: TypeAlias = list[TargetName | WeightedTarget]


def check_targets(targets: Sequence[str | WeightedTarget]) -> None:
    """Raises InputError (`empty_list`, `duplicate_target`, `out_of_range`)."""
    if not targets:
        raise InputError("empty_list", "`targets` is empty; name at least one vector column.", "targets")
    named: set[str] = set()
    for param, name in names_of(targets).items():
        if name in named:
            message = f"`{param}` names {name[:200]!r} again; give it a `weight` to have it count for more."
            raise InputError("duplicate_target", message, param)
        named.add(name)
    if not any(weights_of(targets).values()):
        raise InputError("out_of_range", "All weights of `targets` are 0: give one of them more.", "targets")


def names_of(targets: Sequence[str | WeightedTarget]) -> dict[str, str]:
    """The vector columns, by their places in the request."""
    return {
        f"targets[{index}]" if isinstance(each, str) else f"targets[{index}].target": _name(each)
        for index, each in enumerate(targets)
    }


def weights_of(targets: Sequence[str | WeightedTarget]) -> dict[str, float]:
    """The weights, by the names of the vector columns."""
    return {_name(each): 1.0 if isinstance(each, str) else each.weight for each in targets}


def _name(target: str | WeightedTarget) -> str:
    return target if isinstance(target, str) else target.target
