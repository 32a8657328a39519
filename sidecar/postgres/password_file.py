"""Passwords from ~/.pgpass or PGPASSFILE, read as libpq reads them: asyncpg takes the backslashes for part of them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

_FIELD = re.compile(r"((?:\\.|[^\\:])*)(?::|$)")


def find_password(file: Path, host: str, port: int, database: str, user: str) -> str | None:
    """Of the first line that fits. Raises PermissionError where others may read the file: libpq ignores it then."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return None
    if not stat.S_ISREG(mode):
        return None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(f"the password file {file} is ignored: others may read it. chmod 600 {file}")
    # A Unix socket in the usual directory is called localhost there.
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
