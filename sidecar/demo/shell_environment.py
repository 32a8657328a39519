"""What a shell needs for the demo, as a file to source: the database, the service, and where the programs are."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote


def shell_environment(database_url: str, service_url: str, postgres_programs: Path) -> str:
    """The lines for sh, bash and zsh. Sourced twice, they change nothing more.

    A psql that the shell finds by itself is used before the one in `postgres_programs`.
    """
    ours = quote(str(Path(sys.executable).parent))
    return f"""\
# Written by `sidecar demo` at each start, for a shell to source. It holds a password: only its owner can read it.
export DATABASE_URL={quote(database_url)}
export SIDECAR_URL={quote(service_url)}
case ":$PATH:" in *:{ours}:*) ;; *) export PATH={ours}:"$PATH" ;; esac
command -v psql >/dev/null || export PATH="$PATH":{quote(str(postgres_programs))}
"""
