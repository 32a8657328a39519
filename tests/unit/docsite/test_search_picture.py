"""The picture at the top of README.md is small, complete in itself, and drawn by docsite/search_picture.py."""

from __future__ import annotations

import re
from io import BytesIO
from xml.etree import ElementTree as ET

from PIL import Image

from docsite.search_picture import FOUND, PICTURE, QUERIES, draw
from tests.named_tests import ROOT

_SVG = "{http://www.w3.org/2000/svg}"


def _png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (300, 200), "green").save(file, "PNG")
    return file.getvalue()


def test_the_picture_in_the_repository_shows_what_was_found_for_each_query() -> None:
    root = ET.parse(PICTURE).getroot()  # noqa: S314 - our own file
    texts = {"".join(text.itertext()) for text in root.iter(f"{_SVG}text")}
    assert {f"“{query}”" for query in QUERIES} <= texts
    assert len(list(root.iter(f"{_SVG}image"))) == FOUND * len(QUERIES)
    assert PICTURE.relative_to(ROOT).as_posix() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_small_and_loads_nothing() -> None:
    text = PICTURE.read_text(encoding="utf-8")
    assert PICTURE.stat().st_size < 200_000
    assert not [link for link in re.findall(r'href="([^"]{,30})', text) if not link.startswith("data:image/png")]
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_names_and_queries_are_escaped() -> None:
    root = ET.fromstring(draw([('<b> & "c"', [("a < b & c", _png())])]))  # noqa: S314 - our own text
    assert "a < b & c" in "".join(root.itertext())
    assert '“<b> & "c"”' in "".join(root.itertext())
    assert '<b> & "c"' in root.attrib["aria-label"]
