"""Sizes of pictures, read by decoder processes from the beginnings of files."""

from __future__ import annotations

import asyncio

from tests.unit.pictures.decoder.pools import running_pool
from tests.unit.pictures.pictures import encode, make_picture


async def test_the_beginning_of_a_file_tells_the_size_of_its_picture() -> None:
    async with running_pool() as pool:
        for name in ("PNG", "JPEG", "GIF", "BMP"):
            assert await pool.measure(encode(make_picture(320, 240), name)[:4096]) == (320, 240), name
        assert await pool.measure(b"milk, bread") is None


async def test_measuring_and_decoding_take_turns_in_one_process() -> None:
    image = encode(make_picture(320, 240), "PNG")
    async with running_pool() as pool:
        size, thumbnail, decoded = await asyncio.gather(pool.measure(image), pool.shrink(image, 32), pool.decode(image))
    assert (size, thumbnail.media_type, len(decoded.views) > 0) == ((320, 240), "image/webp", True)
