"""The connection service file, pg_service.conf: a name for a set of connection options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def read_service(files: Iterable[Path], service: str) -> Mapping[str, str] | None:
    """The options of a service in the first file that has it, or None."""
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        if (found := _section(lines, service)) is not None:
            return found
    return None


def _section(lines: Iterable[str], service: str) -> Mapping[str, str] | None:
    found: dict[str, str] | None = None
    for line in (line.strip() for line in lines):
        if line.startswith("["):
            if found is not None:
                return found
            found = {} if line == f"[{service}]" else None
        elif found is not None and line and not line.startswith("#") and "=" in line:
            name, _, value = line.partition("=")
            found.setdefault(name.strip(), value.strip())
    return found
