"""The schema `sidecar` as pg_dump prints it, without what differs between servers.

`python -m tests.schema_dump` writes it to tests/schema.sql, which shows a reviewer what a migration changes.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sidecar.embedded_postgres.programs import find_programs
from sidecar.operations.migrations import migrate
from tests.servers import embedded_server

GOLDEN = Path(__file__).with_name("schema.sql")

_HEADER = "-- All of schema `sidecar` at the newest migration. Written by `make schema`; a test compares it.\n\n"
# It names the files that stand beside it.
_DIGEST = re.compile(r"(?<=')[0-9a-f]{64}(?=')")
# Comments, settings, and psql commands that only some versions print.
_NOISE = re.compile(r"^(--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict).*\n", re.MULTILINE)


def dump_schema(url: str) -> str:
    """What `url`'s database holds in schema `sidecar`, but for Alembic's own table. By the newest pg_dump there is."""
    pg_dump: Path = find_programs("18") / "pg_dump"
    options = [
        "--schema-only",
        "--schema=sidecar",
        "--schema=sidecar_internal",
        "--exclude-table=sidecar.alembic_version",
        "--no-owner",
    ]
    printed = subprocess.run([pg_dump, *options, url], check=True, capture_output=True, text=True).stdout
    return _HEADER + re.sub(r"\n{3,}", "\n\n", _DIGEST.sub("…", _NOISE.sub("", printed))).strip() + "\n"


def main() -> None:
    with embedded_server("18") as server:
        name = server.create_database()
        migrate(server.database_url(name))
        GOLDEN.write_text(dump_schema(server.database_url(name)), encoding="utf-8")


if __name__ == "__main__":
    main()
