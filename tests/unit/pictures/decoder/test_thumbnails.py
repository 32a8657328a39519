"""Thumbnails made by decoder processes."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from sidecar.pictures.picture import Thumbnail
from tests.unit.pictures.decoder.pools import (
    SETTINGS,
    children,
    make_slow_picture,
    only_child,
    running_pool,
    wait_until_busy,
)
from tests.unit.pictures.pictures import FORMATS, encode, make_picture


def opened(thumbnail: Thumbnail) -> Image.Image:
    image = Image.open(io.BytesIO(thumbnail.content))
    image.load()
    return image.convert("RGB")


async def test_every_format_is_made_small_and_looks_alike() -> None:
    async with running_pool() as pool:
        for name in FORMATS:
            image = encode(make_picture(320, 240), name)
            thumbnail = await pool.shrink(image, 64)
            small = opened(thumbnail)
            assert (thumbnail.media_type, small.size) == ("image/webp", (64, 48)), name
            expected = decode_rgb(image, 10**6).resize((64, 48), Image.Resampling.LANCZOS)
            assert np.abs(np.asarray(small, np.int16) - np.asarray(expected, np.int16)).mean() < 12, name


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [((40, 30), (40, 30)), ((5000, 2), (64, 1)), ((3, 900), (1, 64)), ((900, 1), (64, 1)), ((7, 5000), (1, 64))],
)
async def test_small_and_narrow_pictures(size: tuple[int, int], expected: tuple[int, int], name: str) -> None:
    async with running_pool() as pool:
        assert opened(await pool.shrink(encode(make_picture(*size), name), 64)).size == expected


async def test_views_and_thumbnails_take_turns_in_one_process() -> None:
    image = encode(make_picture(320, 240), "PNG")
    async with running_pool() as pool:
        alone = await pool.decode(image)
        less, more, decoded = await asyncio.gather(pool.shrink(image, 32), pool.shrink(image, 64), pool.decode(image))
        assert [opened(thumbnail).width for thumbnail in (less, more)] == [32, 64]
        assert np.array_equal(decoded.views, alone.views)
        assert len(children()) == 1


async def test_what_cannot_be_decoded_is_rejected_as_for_views() -> None:
    async with running_pool(replace(SETTINGS, max_image_pixels=1000)) as pool:
        for image, code in (
            (b"text", "not_a_picture"),
            (encode(make_picture(100, 100), "PNG"), "too_many_pixels"),
            (b"x" * (SETTINGS.max_image_bytes + 1), "too_many_bytes"),
        ):
            with pytest.raises(PictureRejected) as rejected:
                await pool.shrink(image, 64)
            assert rejected.value.code == code


async def test_a_caller_that_leaves_ends_its_process_and_the_next_one_is_served() -> None:
    async with running_pool() as pool:
        task = asyncio.create_task(pool.shrink(make_slow_picture(), 64))
        await wait_until_busy(only_child())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert opened(await pool.shrink(encode(make_picture(100, 50), "PNG"), 64)).size == (64, 32)
