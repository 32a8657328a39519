"""Draws the picture at the top of README.md, docs/assets/search.svg, from the running demo.

    . .demo/env
    python -m docsite.search_picture "$DATABASE_URL" "$SIDECAR_URL"

The pictures in it are those that the demo's service finds for QUERIES, in the order of their distance. It names no font
and loads nothing; its colours follow the reader's colour scheme.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

import httpx
import psycopg
from PIL import Image

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "search.svg"
QUERIES = ("sad cat", "pot of tea", "rain", "fruit")
FOUND = 6
_NEAREST = """
    select name, picture from emoji where id < 10000
    order by picture_embedding <=> %s::vector limit %s
"""
_CALL = ("sidecar.watch('emoji',", "source =&gt; 'picture', target =&gt; 'picture_embedding');")
# Narrow, with large letters: a telephone shows it at half its size.
_WIDTH, _MARGIN, _LEFT, _TOP, _ROW, _SIDE, _STEP = 720, 28, 194, 130, 80, 58, 84
_STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de } .rule { stroke: #d8dee4 } .tile { fill: #ffffff }
    .code { font: 17px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
    .note { font: 16px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #59636e } .word { fill: #0550ae }
    @media (prefers-color-scheme: dark) {
        .card { fill: #151b23; stroke: #3d444d } .rule { stroke: #3d444d }
        .code { fill: #f0f6fc } .note { fill: #b1bac4 } .word { fill: #79c0ff }
    }
"""

Found = Sequence[tuple[str, bytes]]


def draw(found: Iterable[tuple[str, Found]]) -> str:
    """SVG with a row for each query: its text, and the names and picture files that were found."""
    rows = list(found)
    height = _TOP + len(rows) * _ROW + 4
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_label(rows)}>',
            f"<style>{_STYLE}</style>",
            f'<rect class="card" x="1" y="1" width="{_WIDTH - 2}" height="{height - 2}" rx="12"/>',
            f'<text class="code" x="{_MARGIN}" y="40"><tspan class="word">select</tspan> {_CALL[0]}</text>',
            f'<text class="code" x="{_MARGIN + 41}" y="64">{_CALL[1]}</text>',
            f'<text class="note" x="{_MARGIN}" y="98">… and a text finds the pictures in the table:</text>',
            *(line for place, row in enumerate(rows) for line in _row(_TOP + place * _ROW, *row)),
            "</svg>\n",
        ]
    )


def _label(rows: Iterable[tuple[str, Found]]) -> str:
    lists = (f"{query}: {', '.join(name for name, _ in found)}." for query, found in rows)
    return f'aria-label="{escape(" ".join(["Pictures found by a text.", *lists]))}"'


def _row(top: int, query: str, found: Found) -> list[str]:
    return [
        f'<line class="rule" x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{top - 8}" y2="{top - 8}"/>',
        f'<text class="code" x="{_MARGIN}" y="{top + 36}">“{escape(query)}”</text>',
        *(
            f'<rect class="tile" x="{_LEFT + place * _STEP - 6}" y="{top - 2}" width="70" height="68" rx="10"/>'
            f'<image x="{_LEFT + place * _STEP}" y="{top + 3}" width="{_SIDE}" height="{_SIDE}" '
            f'href="{_data_uri(picture)}"><title>{escape(name)}</title></image>'
            for place, (name, picture) in enumerate(found)
        ),
    ]


def _data_uri(picture: bytes) -> str:
    """The picture as a small PNG, at one and a half times the size at which it is shown."""
    image = Image.open(BytesIO(picture)).convert("RGBA")
    image.thumbnail((_SIDE * 3 // 2, _SIDE * 3 // 2), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.quantize(64).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _find(connection: psycopg.Connection, service: str, query: str) -> Found:
    answer = httpx.post(f"{service}/embed/text", json={"text": query}, timeout=30).raise_for_status()
    vector = str(answer.json()["embedding"])
    return [(name, bytes(picture)) for name, picture in connection.execute(_NEAREST, (vector, FOUND))]


def main() -> None:
    database_url, service = sys.argv[1:]
    with psycopg.connect(database_url) as connection:
        found = [(query, _find(connection, service, query)) for query in QUERIES]
    PICTURE.write_text(draw(found), encoding="utf-8")


if __name__ == "__main__":
    main()
