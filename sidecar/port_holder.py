"""The program that listens on a port of this machine, as an error can name it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def name_port_holder(port: int) -> str:
    """`postgres (process 1234)`; `another program` where this user, or this system, does not show which."""
    sockets = {f"socket:[{inode}]" for table in _TABLES for inode in _listening_inodes(table, port)}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        with suppress(OSError):  # another user's process, or one that has ended
            if any(str(file.readlink()) in sockets for file in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program"


def _listening_inodes(table: Path, port: int) -> list[str]:
    with suppress(OSError):
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]
    return []
