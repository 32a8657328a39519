"""Every relative link and every anchor of the documentation leads somewhere; other addresses have a sound form."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docsite.links import Link, anchors_of, links_of, slugify
from tests.named_tests import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        *(f"{folder}/**/*.md" for folder in ("docs", "deploy", "benchmarks", "sidecar", "training")),
    )
    for path in ROOT.glob(pattern)
)


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _anchors(path: Path) -> frozenset[str]:
    return frozenset(anchors_of(_read(path)))


def _fault(page: Path, link: Link) -> str | None:
    """What is wrong with a link of `page`, if anything is."""
    if link.is_external:
        return _fault_of_external(link.target)
    target = page if not link.path else page.parent / link.path
    if not target.exists():
        return f"{link.target}: there is no {link.path}"
    if ROOT not in target.resolve().parents and target.resolve() != ROOT:
        return f"{link.target} leads out of the repository"
    if link.anchor and link.anchor not in _anchors(target.resolve()):
        return f"{link.target}: there is no heading for #{link.anchor}"
    return None


def _fault_of_external(target: str) -> str | None:
    address = urlsplit(target)
    if address.scheme == "mailto":
        return None
    host = address.hostname or ""
    sound = address.scheme in {"http", "https"} and ("." in host or host == "localhost")
    return None if sound else f"{target} is no address of a page"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_the_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    faults = [f"{name}:{link.line}: {fault}" for link in links_of(_read(page)) if (fault := _fault(page, link))]
    assert not faults, "\n".join(faults)


def test_links_in_code_and_comments_are_none() -> None:
    page = (
        "[a](one.md) `[b](two.md)`\n```\n[c](three.md)\n```\n<!-- [d](four.md) -->\n"
        '![e](five.png "title") [f]: six.md\n[g]: seven.md\n<img alt="h" src="eight.png">\n'
    )
    assert [(link.target, link.line) for link in links_of(page)] == [
        ("one.md", 1),
        ("five.png", 6),
        ("seven.md", 7),
        ("eight.png", 8),
    ]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("429: the lane is full", "429-the-lane-is-full"),
        ("OpenAI's API", "openais-api"),
        ("`POST /v1/embeddings`", "post-v1embeddings"),
        ("For programs: --json", "for-programs---json"),
        ("[Roles](roles.md), and more", "roles-and-more"),
        ("`sidecar.wait_embedded`", "sidecarwait_embedded"),
    ],
)
def test_a_heading_has_the_anchor_that_forges_give_it(heading: str, anchor: str) -> None:
    assert slugify(heading) == anchor


def test_headings_of_one_name_are_numbered_and_those_in_code_are_none() -> None:
    assert anchors_of("# A\n## A\n```sh\n# b\n```\n## A\n") == {"a", "a-1", "a-2"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[x](docs/nowhere.md)", "there is no docs/nowhere.md"),
        ("[x](CONTRIBUTING.md#nowhere)", "there is no heading for #nowhere"),
        ("[x](#nowhere)", "there is no heading for #nowhere"),
        ("[x](../elsewhere)", "../elsewhere"),
        ("[x](https:/example.org)", "is no address of a page"),
        ("[x](http://docs)", "is no address of a page"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, fault: str) -> None:
    (link,) = links_of(text)
    assert fault in str(_fault(ROOT / "README.md", link))
