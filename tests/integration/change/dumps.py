"""pg_dump and pg_restore, of the version that the server has."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import psycopg

from sidecar.embedded_postgres.programs import find_programs


def dump(url: str, file: Path, *options: str, version: str | None = None) -> None:
    """`options`: --format=custom, --schema-only …"""
    run_program("pg_dump", version or version_of(url), "--file", str(file), *options, url)


async def restore(file: Path, url: str, *options: str, check: bool = True) -> str:
    """A custom dump by pg_restore, a plain one by psql. Returns what they complained of."""
    if file.suffix == ".sql":
        options = ("--quiet", "--set=ON_ERROR_STOP=1", "--file", str(file), *options)
        return await asyncio.to_thread(run_program, "psql", version_of(url), *options, url, check=check)
    options = ("--dbname", url, *(["--exit-on-error"] if check else []), *options)
    return await asyncio.to_thread(run_program, "pg_restore", version_of(url), *options, str(file), check=check)


def run_program(name: str, version: str, *arguments: str, check: bool = True) -> str:
    """Returns its stderr. A failure is one of the test, unless `check` is False."""
    command = [str(find_programs(version) / name), *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0 or not check, ended.stderr
    return ended.stderr


def version_of(url: str) -> str:
    """`16` or `18`."""
    with psycopg.connect(url) as connection:
        return str(connection.info.server_version // 10_000)
