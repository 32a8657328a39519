"""Clients of a database that cost little themselves: pgbench, which comes with Postgres."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from sidecar.embedded_postgres.programs import find_programs


async def run_pgbench(url: str, script: str, clients: int, seconds: int) -> float:
    """Transactions per second of `clients` that repeat the script. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "script.sql"
        path.write_text(script)
        command = [str(find_programs("18") / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2"]
        process = await asyncio.create_subprocess_exec(
            *(*command, "-T", str(seconds), "-f", str(path), url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    found = re.search(rb"tps = ([0-9.]+)", output)
    if process.returncode != 0 or found is None:
        raise RuntimeError(f"pgbench failed: {errors.decode()}")
    return float(found[1])
