"""The two files that libpq reads connection options from, read the same way for asyncpg, which does it differently.

The password file (~/.pgpass or PGPASSFILE): asyncpg keeps its backslashes. The connection service file
(pg_service.conf): asyncpg ignores it.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_FIELD = re.compile(r"((?:\\.|[^\\:])*)(?::|$)")


def find_password(file: Path, host: str, port: int, database: str, user: str) -> str | None:
    """The password of the first matching line. Raises PermissionError if others may read the file: libpq ignores it."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return None
    if not stat.S_ISREG(mode):
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(f"the password file {file} is ignored: others may read it. chmod 600 {file}")
    # For a Unix socket the file says localhost.
    hosts = {host, "localhost"} if host.startswith("/") or not host else {host}
    for fields in _lines(file):
        names = ({*hosts}, {str(port)}, {database}, {user})
        if all(field == "*" or _unescape(field) in name for field, name in zip(fields[:4], names, strict=True)):
            return _unescape(fields[4])
    return None


def _lines(file: Path) -> Iterator[list[str]]:
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("#"):
            continue
        fields: list[str] = []
        at = 0
        while len(fields) < 4 and (found := _FIELD.match(line, at)) is not None and found.end() > at:
            fields.append(found[1])
            at = found.end()
        if len(fields) == 4:
            yield [*fields, line[at:]]


def _unescape(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field)


def read_service(files: Iterable[Path], service: str) -> Mapping[str, str] | None:
    """The options of a service, from the first file that has it; None if no file has it."""
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
