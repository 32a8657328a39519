"""benchmarks/large_tables.json: what was measured at each size, and the machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.hardware import describe_hardware

RESULTS = Path(__file__).parents[1] / "large_tables.json"


@dataclass(frozen=True, slots=True)
class Results:
    """`sizes`: by the number of rows, as text. `builds`: by the name of the index build. Values: what was measured."""

    hardware: dict[str, Any]
    sizes: dict[str, dict[str, float]] = field(default_factory=dict)
    builds: dict[str, dict[str, float]] = field(default_factory=dict)


def read_results(path: Path = RESULTS) -> Results:
    """Empty if there is no such file."""
    return Results(**orjson.loads(path.read_bytes())) if path.exists() else Results(describe_hardware())


def write_results(path: Path, results: Results) -> None:
    path.write_bytes(orjson.dumps(asdict(results), option=orjson.OPT_INDENT_2) + b"\n")
