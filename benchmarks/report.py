"""benchmarks/figures.json: the last figures of every part, and the machine they were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from benchmarks.figure import Figure

FIGURES = Path(__file__).parent / "figures.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of a part. `full`: at the sizes that take long."""

    hardware: dict[str, Any]
    took_s: int
    full: bool
    figures: Sequence[Figure]


Report: TypeAlias = dict[str, Measured]  # by the name of the part


def read_report(path: Path = FIGURES) -> Report:
    """Empty if there is no such file."""
    parts: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return {
        name: Measured(
            part["hardware"], part["took_s"], part["full"], [Figure.from_json(each) for each in part["figures"]]
        )
        for name, part in parts.items()
    }


def write_report(path: Path, report: Report) -> None:
    parts = {
        name: {
            "hardware": part.hardware,
            "took_s": part.took_s,
            "full": part.full,
            "figures": [figure.as_json() for figure in part.figures],
        }
        for name, part in report.items()
    }
    path.write_bytes(orjson.dumps(parts, option=orjson.OPT_INDENT_2) + b"\n")
