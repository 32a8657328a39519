"""A watched table of pictures."""

from __future__ import annotations

import io

from PIL import Image

from tests.encoders import HashEncoder
from tests.integration.http.pictures import picture
from tests.integration.search.shop import DIMENSIONS, make_encoder
from tests.integration.sql.session import Connection, run

JPEG = picture("orange", (800, 400), "JPEG")
PNG = picture("blue", (40, 30))
TEXT = b"this is no picture"

_EXPOSE = "array['title', 'tenant', 'photo']"


def make_photos(db: Connection, expose: str = _EXPOSE) -> HashEncoder:
    """Creates `photos`: a wide JPEG, a small PNG, something else, and NULL; returns the encoder of its watch."""
    run(db, "create table photos (id bigint primary key, title text, tenant int, photo bytea)")
    for row in ((1, "wide", 7, JPEG), (2, "small", 8, PNG), (3, "text", 7, TEXT), (4, "none", 7, None)):
        db.execute("insert into photos values (%s, %s, %s, %s)", row)
    run(db, f"select sidecar.watch('photos', 'photo', target => 'e', dimensions => {DIMENSIONS}, expose => {expose})")
    return make_encoder()


def opened(content: bytes) -> Image.Image:
    """The picture, with its pixels."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image
