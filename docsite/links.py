"""Links and anchors of a Markdown page, by the rules of forges such as GitHub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]* *$|\Z)", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:.(?!\n\n))*?.(?<!`)\1(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# [text](target "title"), [label]: target, <a href="target">, <img src="target">, <source srcset="target">
_TARGET = re.compile(
    r"""\]\(\s*(?P<inline><[^>\n]*>|[^()\s]+(?:\([^()\s]*\)[^()\s]*)*)(?:\s+"[^"]*")?\s*\)"""
    r"""|^ {0,3}\[[^\]\n]+\]:\s+(?P<reference>\S+)"""
    r"""|<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)="(?P<html>[^"]*)\"""",
    re.MULTILINE,
)
_HEADING = re.compile(r"^ {0,3}#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)
_HTML_ANCHOR = re.compile(r"""<[^>]+\b(?:id|name)="([^"]+)\"""")
_LINK_OR_IMAGE = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """One link or image of a page. `target` is as written; `start` and `end` are its place in the page."""

    target: str
    line: int
    start: int
    end: int

    @property
    def is_external(self) -> bool:
        return bool(_EXTERNAL.match(self.target))

    @property
    def path(self) -> str:
        return self.target.partition("#")[0]

    @property
    def anchor(self) -> str:
        return self.target.partition("#")[2]


def links_of(page: str) -> Iterator[Link]:
    """All links and images of a page, but for those in code and comments."""
    text = _without_code(page)
    for match in _TARGET.finditer(text):
        group = str(match.lastgroup)
        start, end = match.span(group)
        if page[start] == "<" and group == "inline":
            start, end = start + 1, end - 1
        yield Link(page[start:end], page.count("\n", 0, start) + 1, start, end)


def anchors_of(page: str) -> set[str]:
    """What a link to a part of the page may name: headings as forges number them, and `id` or `name` of HTML."""
    blanked = _FENCE.sub(_blank, _COMMENT.sub(_blank, page))
    anchors: set[str] = set(_HTML_ANCHOR.findall(blanked))
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(blanked):
        slug = slugify(heading)
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


def slugify(heading: str) -> str:
    """The anchor of a heading: its text in lower case without punctuation, and a hyphen for each space."""
    text = unescape(_LINK_OR_IMAGE.sub(r"\1", heading)).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def slug_for_toc(heading: str, _separator: str) -> str:
    """`slugify` as Python-Markdown's table of contents calls it, so that anchors in the site are those of forges."""
    return slugify(heading)


def replace_targets(page: str, replace: Callable[[Link], str]) -> str:
    """The page with each link's target as `replace` gives it."""
    parts, at = [], 0
    for link in links_of(page):
        parts += [page[at : link.start], replace(link)]
        at = link.end
    return "".join([*parts, page[at:]])


def _without_code(page: str) -> str:
    """The page with code and comments blanked, so that places stay what they are."""
    for pattern in (_COMMENT, _FENCE, _CODE_SPAN):
        page = pattern.sub(_blank, page)
    return page


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())
