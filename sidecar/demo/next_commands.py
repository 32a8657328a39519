"""What a newcomer types next: commands that work as printed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from shlex import quote

from rich.console import Console

from sidecar.config import Settings
from sidecar.demo.example import PICTURE_TARGET, TABLE, example_pictures

_DEFAULT_URL = "http://127.0.0.1:9000"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on
_CHANGE = (
    "update pictures set caption = 'A pot of green tea' where id = 4",
    "call sidecar.wait_embedded('pictures', jsonb_build_object('id', 4))",
    (
        "select p.title, p.caption from pictures p, pictures q where q.id = 4 "
        "order by p.caption_embedding <=> q.caption_embedding limit 3"
    ),
)
_STAND_IN_NOTE = """
This model is a small stand-in with random weights: everything works, but its vectors mean nothing yet, and so the
order in which it finds things does not either. The real model weighs 3.5 GB and wants a GPU. To run it on a database
of your own (with HF_TOKEN=hf_… if Hugging Face asks for one):

    export DATABASE_URL=postgresql://user:password@host:5432/database
    {program} migrate && {program} serve
"""


def tell_what_to_type(console: Console, service_url: str, url_file: Path, bin_dir: Path) -> None:
    """Says what the vectors are worth, then prints the commands, each indented by four blanks after `Type next`."""
    lines = [
        _STAND_IN_NOTE.format(program=_find_program()),
        "Type next, in another terminal:",
        "",
        "  a query vector over REST",
        f"    {_embed_command(service_url)}",
        "",
        "  in SQL: change a row, wait for its vector, search with it",
        f"    {_change_command(url_file, bin_dir)}",
        "",
        "  rows that look like a picture",
        f"    {_search_command(url_file, service_url)}",
        "",
        "Ctrl-C here ends everything; the data stays.",
    ]
    console.print("\n".join(lines), soft_wrap=True)


def url_of_service(settings: Settings) -> str:
    """Where a program on this machine reaches the service."""
    host = _ANY_ADDRESS.get(settings.bind_host, settings.bind_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.bind_port}"


def _embed_command(service_url: str) -> str:
    body = json.dumps({"text": "a cat"})
    return f"curl -s {service_url}/embed/text -H 'Content-Type: application/json' -d {quote(body)} | cut -c 1-120"


def _change_command(url_file: Path, bin_dir: Path) -> str:
    psql = "psql" if shutil.which("psql") else quote(str(bin_dir / "psql"))
    return " \\\n".join([f"{psql} {_content_of(url_file)}", *(f'      -c "{statement}"' for statement in _CHANGE)])


def _search_command(url_file: Path, service_url: str) -> str:
    picture = quote(str(example_pictures() / "cat.jpg"))
    elsewhere = "" if service_url == _DEFAULT_URL else f" --url {service_url}"
    command = f"{_find_program()} search {TABLE} {picture} --target {PICTURE_TARGET}{elsewhere}"
    return f"DATABASE_URL={_content_of(url_file)} {command}"


def _find_program() -> str:
    """`sidecar` where the shell would find this very program, else its full path."""
    ours = Path(sys.executable).with_name("sidecar")
    found = shutil.which("sidecar")
    return "sidecar" if found and (not ours.exists() or Path(found).samefile(ours)) else quote(str(ours))


def _content_of(file: Path) -> str:
    """As one word of the shell: so no password stands on the screen or in the shell's history."""
    return f'"$(cat {quote(str(file))})"'
