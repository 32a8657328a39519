"""The SQL in the message about a picture stored as text converts it."""

from __future__ import annotations

import base64
import re

import pytest

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.integration.sql.session import Connection
from tests.unit.pictures.pictures import encode, make_picture

PICTURE = encode(make_picture(32, 24), "PNG")
HEX, BASE64 = PICTURE.hex().encode(), base64.b64encode(PICTURE)
STORED = {
    "base64": BASE64,
    "base64 in lines": base64.encodebytes(PICTURE),
    "base64 for URLs": base64.urlsafe_b64encode(PICTURE),
    "a data: URL": b"data:image/png;base64," + BASE64,
    "hexadecimal": HEX,
    "hexadecimal with \\x": b"\\x" + HEX,
    "hexadecimal with \\\\x": b"\\\\x" + HEX,
    "hexadecimal with 0x": b"0x" + HEX,
    "octal": "".join(f"\\{byte:03o}" for byte in PICTURE).encode(),
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_the_sql_in_the_message_converts_the_text_to_the_picture(db: Connection, stored: bytes) -> None:
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(stored, 1_000_000)
    expression = re.search(r"in SQL: (.*)\.$", caught.value.message)
    assert expression is not None

    query = "select " + expression[1].replace("...", "photo") + " from (select %s::bytea) as stored (photo)"
    [(picture,)] = db.execute(query, [stored]).fetchall()

    assert bytes(picture) == PICTURE
