"""Runs pg_dump and pg_restore of the server's version."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import psycopg

from sidecar.embedded_postgres.programs import find_programs


def dump(url: str, file: Path, *options: str, version: str | None = None) -> None:
    """Writes a dump. `options` are those of pg_dump, such as --format=custom."""
    run_program("pg_dump", version or version_of(url), "--file", str(file), *options, url)


async def restore(file: Path, url: str, *options: str, check: bool = True) -> str:
    """Restores a custom dump with pg_restore, a plain one with psql. Returns their stderr."""
    if file.suffix == ".sql":
        options = ("--quiet", "--set=ON_ERROR_STOP=1", "--file", str(file), *options)
        return await asyncio.to_thread(run_program, "psql", version_of(url), *options, url, check=check)
    options = ("--dbname", url, *(["--exit-on-error"] if check else []), *options)
    return await asyncio.to_thread(run_program, "pg_restore", version_of(url), *options, str(file), check=check)


def run_program(name: str, version: str, *arguments: str, check: bool = True) -> str:
    """Runs the program and returns its stderr. It must succeed unless `check` is False."""
    command = [str(find_programs(version) / name), *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0 or not check, ended.stderr
    return ended.stderr


def version_of(url: str) -> str:
    """The server's major version: `16` or `18`."""
    with psycopg.connect(url) as connection:
        return str(connection.info.server_version // 10_000)
