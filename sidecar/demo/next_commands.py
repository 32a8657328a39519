"""The commands that the demo suggests to a newcomer; they work as printed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from shlex import quote

from rich.console import Console

from sidecar.demo.example import TABLE

_DEFAULT_URL = "http://127.0.0.1:9000"
_ALIKE = (
    "select e.emoji, e.name from emoji e, emoji o where o.name = 'octopus' "
    "order by e.picture_embedding <=> o.picture_embedding limit 5"
)
_INSERT = (
    "insert into emoji (id, emoji, name) values (20001, '🫖', 'my green teapot') on conflict do nothing",
    "call sidecar.wait_embedded('emoji', '{\"id\": 20001}', target => 'name_embedding', timeout_ms => 20000)",
)
_NOTE = """
The model is a small one (`VISION_MODEL_ID=demo`), trained on these emoji and what they are called: it knows little
else, least of all photographs. The real one weighs 3.5 GB and wants a GPU; with a database of your own:

    export DATABASE_URL=postgresql://user:password@host:5432/database
    sidecar migrate && sidecar serve
"""


def print_next_commands(console: Console, service_url: str, url_file: Path, bin_dir: Path) -> None:
    """Prints `Type next`, the commands as paragraphs indented by four spaces, and a note on the model's quality."""
    search = _search_command(service_url)
    lines = [
        "",
        "Search answers from here on, with what is embedded so far. Type next, in another terminal:",
        "",
        "  again after every start, since Postgres takes another port each time",
        f"    {_export_command(url_file, bin_dir)}",
        "",
        "  a text finds pictures",
        f'    {search} "sad cat"',
        "",
        "  in SQL: pictures that look alike",
        f'    psql "$DATABASE_URL" -c "{_ALIKE}"',
        "",
        "  a row of your own: insert it, wait for its vector, find it by its name",
        " \\\n".join(['    psql "$DATABASE_URL"', *(f"      -c {_quote_sql(statement)}" for statement in _INSERT)])
        + f' \\\n      && {search} "pot of tea" --target name_embedding',
        "",
        "  the same over REST, vector and search in one",
        f"    {_rest_search_command(service_url)}",
        "",
        "  a query vector over REST",
        f"    {_embed_command(service_url)}",
        _NOTE,
    ]
    console.print("\n".join(lines), soft_wrap=True)


def _export_command(url_file: Path, bin_dir: Path) -> str:
    """Sets DATABASE_URL from its file, which keeps the password off the screen and out of the shell's history.

    Adds the folders of `sidecar` and `psql` to PATH where the shell would not find them.
    """
    path = [str(folder) for folder in (_folder_of_sidecar(), None if shutil.which("psql") else bin_dir) if folder]
    in_path = f' PATH={quote(":".join(path))}:"$PATH"' if path else ""
    return f'export DATABASE_URL="$(cat {quote(str(url_file))})"{in_path}'


def _folder_of_sidecar() -> Path | None:
    """The folder of this program; None if the shell finds it in PATH."""
    ours = Path(sys.executable).with_name("sidecar")
    found = shutil.which("sidecar")
    return None if found and (not ours.exists() or Path(found).samefile(ours)) else ours.parent


def _quote_sql(statement: str) -> str:
    """In double quotes for a shell, single quotes unchanged. `statement` must hold no $, `, ! or backslash."""
    escaped = statement.replace('"', '\\"')
    return f'"{escaped}"'


def _search_command(service_url: str) -> str:
    return f"sidecar search{'' if service_url == _DEFAULT_URL else f' --url {service_url}'} {TABLE}"


def _rest_search_command(service_url: str) -> str:
    body = json.dumps({"table": TABLE, "target": "picture_embedding", "text": "sad cat", "k": 3})
    return f"curl -s {service_url}/search -H 'Content-Type: application/json' -d {quote(body)}"


def _embed_command(service_url: str) -> str:
    body = json.dumps({"text": "a sad cat"})
    return f"curl -s {service_url}/embed/text -H 'Content-Type: application/json' -d {quote(body)} | cut -c 1-120"
