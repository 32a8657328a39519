"""The reference pages, and where they stand."""

from __future__ import annotations

from pathlib import Path

from docsite.command_line import command_line_page
from docsite.rest import rest_page
from docsite.sql import sql_page
from sidecar.operations.migrations import migrate
from tests.servers import embedded_server

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
SQL_PAGE = FOLDER / "sql.md"
# Pages that are made of the code alone.
PAGES = {FOLDER / "command-line.md": command_line_page, FOLDER / "rest.md": rest_page}


def write_pages() -> None:
    """Writes every reference page; starts a Postgres to read SQL's from."""
    for page, make in PAGES.items():
        page.write_text(make(), encoding="utf-8")
    with embedded_server("18") as server:
        url = server.database_url(server.create_database())
        migrate(url)
        SQL_PAGE.write_text(sql_page(url), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
