"""The commands that the demo suggests to a newcomer; they work as printed."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from rich.console import Console

from sidecar.demo.example import TABLE

_ALIKE = (
    "select e.emoji, e.name from emoji e, emoji o where o.name = 'octopus' "
    "order by e.picture_embedding <=> o.picture_embedding limit 5"
)
_NOTE = """
The model is a small one (`VISION_MODEL_ID=demo`), trained on these emoji and what they are called: it knows little
else, least of all photographs. The real one weighs 3.5 GB and wants a GPU; with a database of your own:

    export DATABASE_URL=postgresql://user:password@host:5432/database
    sidecar migrate && sidecar serve
"""


def print_next_commands(console: Console, service_url: str, env_file: Path) -> None:
    """Prints `Type next`, the commands in lines indented by four spaces, and a note on the model's quality."""
    env = _as_typed(env_file)
    lines = [
        "",
        "Search answers from here on, with what is embedded so far. Type next, in another terminal:",
        "",
        f"    . {env}",
        f'    sidecar search {TABLE} "sad cat"',
        f'    psql "$DATABASE_URL" -c "{_ALIKE}"',
        "",
        "The text finds pictures; the SQL finds pictures that look alike. The first line sets DATABASE_URL,",
        f"SIDECAR_URL and PATH, and stays right for later starts. In a browser: {service_url}/",
        _NOTE,
    ]
    console.print("\n".join(lines), soft_wrap=True)


def _as_typed(path: Path) -> str:
    """The path as one types it: relative to the working directory, if it is in there. `.` wants a slash in it."""
    here = Path.cwd()
    relative = path.relative_to(here) if path.is_relative_to(here) else path
    return quote(str(relative if len(relative.parts) > 1 else path))
