"""Hooks of MkDocs: pages of the repository that stand outside docs/, and links to what is no page.

README.md is the front page. A link to a file that is no page, such as a source file, leads to a copy of it.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docsite.dialect import for_python_markdown
from docsite.links import Link, replace_targets
from docsite.wide_tables import break_long_names, is_mostly_a_wide_table

ROOT = Path(__file__).parents[1]
_DOCS = "docs/"
# Where a page of the repository stands in the site.
PLACES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "deploy/README.md": "deploy.md",
    "deploy/helm/README.md": "chart.md",
    "sidecar/demo/model/MODEL_CARD.md": "demo-model.md",
    "sidecar/demo/data/LICENSES.md": "demo-data.md",
}
_SOURCES = {place: source for source, place in PLACES.items()}
# How a page ranks among those that search finds: first what helps, last the long lists of tests.
_BOOSTS = {"troubleshooting.md": 2, "glossary.md": 1.5, "compatibility.md": 0.5, "changelog.md": 0.5}
# Files of the repository that pages link to, and which are no pages of the site.
_COPIES = "repository/"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the repository, and copies of the files that any page links to."""
    for source, place in PLACES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for source in sorted({copy for file in files.documentation_pages() for copy in _copies(file)}):
        files.append(File.generated(config, _COPIES + source, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_context: object) -> str:
    """Has links lead to where their files stand in the site, in the generator's Markdown."""
    place = page.file.src_uri
    return for_python_markdown(replace_targets(markdown, lambda link: _place_of_link(link, place)))


def on_page_content(html: str, page: Page, **_context: object) -> str:
    """Gives wide tables the room that there is."""
    if is_mostly_a_wide_table(html):
        page.meta["hide"] = ["toc"]
    if (boost := _BOOSTS.get(page.file.src_uri)) is not None:
        page.meta["search"] = {"boost": boost}
    return break_long_names(html)


def _copies(file: File) -> set[str]:
    """Files that a page links to, and which are not in the site by themselves."""
    copies: set[str] = set()

    def note(link: Link) -> str:
        place = _place_of_link(link, file.src_uri)
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(file.src_uri), place))
        if not link.is_external and resolved.startswith(_COPIES):
            copies.add(resolved.removeprefix(_COPIES))
        return link.target

    replace_targets(file.content_string, note)
    return copies


def _place_of_link(link: Link, place: str) -> str:
    """The target of a link on the page at `place`, as it is to be in the site."""
    if link.is_external or not link.path:
        return link.target
    source = _SOURCES.get(place, _DOCS + place)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link.path))
    if (ROOT / target).is_dir():
        target += "/README.md" if (ROOT / target / "README.md").is_file() else ""
    anchor = f"#{link.anchor}" if link.anchor else ""
    return posixpath.relpath(_place_of_file(target), posixpath.dirname(place) or ".") + anchor


def _place_of_file(source: str) -> str:
    """Where a file of the repository stands in the site."""
    if source in PLACES:
        return PLACES[source]
    return source.removeprefix(_DOCS) if source.startswith(_DOCS) else _COPIES + source
