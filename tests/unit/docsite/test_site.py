"""The docs site builds without a warning, has every page, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.named_tests import ROOT

# What a browser loads by itself, unlike links, which wait for a click.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc="?([^"\s>]+)"""
    r"""|<link\b(?=[^>]*\brel="?(?:stylesheet|icon|preload|preconnect|modulepreload))[^>]*?\bhref="?([^"\s>]+)"""
    r"""|\burl\((?!data:)["']?([^"')]+)|@import\s+["']([^"']+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it, which ends at the first warning."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder


def _pages(site: Path) -> list[Path]:
    return [path for path in site.rglob("*.html") if path.name != "404.html"]


def test_every_page_of_the_documentation_is_in_the_navigation(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {path.relative_to(site).as_posix() for path in _pages(site)} - {"index.html"}
    front = (site / "index.html").read_text(encoding="utf-8")
    assert not [page for page in sorted(pages) if f'href="{page}" class="md-nav__link"' not in front], (
        "add these pages to `nav` in mkdocs.yml, and to docs/by-role.md"
    )


def test_the_front_page_is_the_readme_and_its_links_lead_to_pages(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    title = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    assert f">{title}<" in front
    assert 'href="docs/' not in front
    assert not (site / "README.html").exists()


def test_a_link_to_a_source_file_leads_to_a_copy_of_it(site: Path) -> None:
    pages = [path.read_text(encoding="utf-8") for path in _pages(site)]
    copies = {copy for page in pages for copy in re.findall(r'href="(?:\.\./)*repository/([^"#]+)"', page)}
    assert copies
    for copy in copies:
        assert (site / "repository" / copy).read_bytes() == (ROOT / copy).read_bytes()


def test_no_markdown_is_left_over(site: Path) -> None:
    """What a forge shows as a list, a table, code or a link, and the generator did not take for one."""
    for path in _pages(site):
        article = path.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]
        text = re.sub(r"<(pre|code)\b.*?</\1>|<[^>]+>", "", article, flags=re.DOTALL)
        assert not re.findall(r"^\s*(?:[-*] \S|```|\|).*|.*\]\(.*|.*\*\*\S.*", text, re.MULTILINE), path.name
        assert "\\|" not in article, path.name


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        found = ("".join(groups) for groups in _LOADED.findall(path.read_text(encoding="utf-8")))
        assert not [address for address in found if re.match(r"(https?:)?//", address)], path


def test_search_finds_settings_functions_endpoints_and_options_without_a_server(site: Path) -> None:
    script = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    index = json.loads(script.partition("=")[2])
    for word, page in (
        ("LISTEN_DATABASE_URL", "settings.html"),
        ("wait_embedded", "reference/sql.html"),
        ("/v2/rerank", "reference/rest.html"),
        ("--by-reason", "reference/command-line.html"),
    ):
        texts = [entry["title"] + entry["text"] for entry in index["docs"] if entry["location"].startswith(page)]
        assert any(word in text for text in texts), word
