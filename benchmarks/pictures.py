"""Pictures for the benchmarks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
import psycopg
from PIL import Image


def jpegs(width: int, height: int) -> Iterator[bytes]:
    """Endless JPEGs of blurred noise, all different; the same ones every time."""
    random = np.random.default_rng(0)
    while True:
        coarse = random.integers(0, 255, (12, 16, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def insert_photos(url: str, table: str, pictures: Iterable[bytes]) -> None:
    """Insert pictures into the column `photo` of a table, each in its own transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for picture in pictures:
            connection.execute(f"insert into {table} (photo) values (%s)".encode(), [picture])
