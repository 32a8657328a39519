"""The machine on which figures are measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from sidecar.embedded_postgres.programs import find_programs


def describe_hardware() -> dict[str, Any]:
    """`load`: the mean number of processes that ran in the minute before; near 0 on a quiet machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": _gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "postgres": _postgres(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    """The model of the processor; may be empty."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    names = [
        line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def _gpu() -> str | None:
    """The first one that the driver lists; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.splitlines()[0].strip() if ended.returncode == 0 and ended.stdout else None


def _postgres() -> str:
    """The version of the server that the benchmarks start."""
    ended = subprocess.run([find_programs("18") / "postgres", "--version"], capture_output=True, text=True, check=True)
    return ended.stdout.split()[-1]
