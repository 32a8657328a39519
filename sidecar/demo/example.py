"""The example table: a dozen pictures with their captions, both watched."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg

TABLE = "pictures"
PICTURE_TARGET = "photo_embedding"

_IS_THERE = "select to_regclass('public.pictures') is not null"
_CREATE = """
    create table public.pictures (
        id      bigint generated always as identity primary key,
        title   text not null,
        caption text not null,
        photo   bytea
    )
"""
_INSERT = "insert into public.pictures (title, caption, photo) values (%s, %s, %s)"
_WATCH_PICTURES = "select sidecar.watch('public.pictures', source => 'photo', target => 'photo_embedding')"
_WATCH_CAPTIONS = "select sidecar.watch('public.pictures', source => 'caption', target => 'caption_embedding')"


def example_pictures() -> Traversable:
    """The folder with the picture files, captions.json and LICENSES.md."""
    return files("sidecar.demo") / "pictures"


def make_example(url: str) -> bool:
    """Makes, fills and watches the table, all or nothing. False if it was there: it is the user's own by then."""
    folder = example_pictures()
    with psycopg.connect(url) as connection:
        if connection.execute(_IS_THERE).fetchone() == (True,):
            return False
        connection.execute(_CREATE)
        for row in json.loads((folder / "captions.json").read_text(encoding="utf-8")):
            connection.execute(_INSERT, (row["title"], row["caption"], (folder / row["file"]).read_bytes()))
        connection.execute(_WATCH_PICTURES)
        connection.execute(_WATCH_CAPTIONS)
    return True
