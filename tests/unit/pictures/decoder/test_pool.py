from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from sidecar.errors import DecoderUnavailable, PictureRejected
from sidecar.pictures.decode import decode_rgb
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.views.cutting import cut_views
from sidecar.pictures.views.plan import plan_views
from tests.unit.pictures.decoder.pools import (
    SETTINGS,
    VIEWS,
    children,
    make_slow_picture,
    only_child,
    running_pool,
    wait_until_busy,
)
from tests.unit.pictures.pictures import FORMATS, encode, make_picture
from tests.waiting import wait_until_async

LARGE_PLAN = plan_views(1600, 1200, VIEWS)


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (100, 100), (700, 100), (1, 50)])
async def test_views_and_weights_arrive_unchanged(size: tuple[int, int]) -> None:
    image = encode(make_picture(*size), "PNG")

    async with running_pool() as pool:
        picture = await pool.decode(image)

    plan = plan_views(*size, VIEWS)
    expected = np.stack([np.asarray(view) for view in cut_views(decode_rgb(image, 10**6), plan)])
    assert picture.views.dtype == np.uint8
    assert np.array_equal(picture.views, expected)
    assert picture.weights.dtype == np.float32
    assert picture.weights.tolist() == pytest.approx(plan.weights)


async def test_fast_views_are_nearly_those_of_exact_ones() -> None:
    large, small = (encode(make_picture(*size), "JPEG") for size in ((1600, 1200), (400, 300)))
    decoded = []
    for preprocess in ("fast", "exact"):
        async with running_pool(replace(SETTINGS, preprocess=preprocess)) as pool:
            decoded.append([(await pool.decode(image)).views.astype(np.int16) for image in (large, small)])

    (fast, fast_small), (exact, exact_small) = decoded

    assert np.array_equal(fast_small, exact_small)
    assert fast.shape == exact.shape == (8, 96, 96, 3)
    assert 0.0 < np.abs(fast - exact).mean() < 1.0
    assert np.array_equal(
        exact, np.stack([np.asarray(view) for view in cut_views(decode_rgb(large, 10**7), LARGE_PLAN)])
    )


def make_lossless_jpeg(side: int) -> bytes:
    """A grey square in sRGB, as JPEG that libjpeg reads (process 14 of ITU T.81) and does not reduce."""
    size = side.to_bytes(2, "big")
    frame = b"\xff\xc3\0\x11\x08" + size + size + b"\x03R\x11\0G\x11\0B\x11\0"
    one_code = b"\xff\xc4\0\x14\0\x01" + bytes(16)  # of one bit, for samples that are equal to those before
    scan = b"\xff\xda\0\x0c\x03R\0G\0B\0\x01\0\0" + bytes(side * side * 3 // 8 + 1)
    return b"\xff\xd8" + frame + one_code + scan + b"\xff\xd9"


@pytest.mark.parametrize("preprocess", ["fast", "exact"])
async def test_a_jpeg_that_cannot_be_reduced_while_it_is_decoded_takes_no_more_memory_than_with_exact(
    preprocess: Literal["fast", "exact"],
) -> None:
    """It was decoded four times at once, as one that may lack some pixels."""
    image = make_lossless_jpeg(4000)  # 64 MB as pixels

    settings = replace(SETTINGS, preprocess=preprocess, memory_bytes=256 << 20, max_image_bytes=len(image))
    async with running_pool(settings) as pool:
        picture = await pool.decode(image)

    assert np.unique(picture.views).tolist() == [128]


async def test_one_child_decodes_picture_after_picture() -> None:
    async with running_pool() as pool:
        child = only_child().pid
        for picture_format in FORMATS:
            picture = await pool.decode(encode(make_picture(), picture_format))
            assert picture.views.shape == (8, 96, 96, 3)
        assert only_child().pid == child


async def test_a_smaller_picture_contains_nothing_of_the_previous_one() -> None:
    async with running_pool() as pool:
        first = await pool.decode(encode(make_picture(700, 100, seed=1), "PNG"))
        second = await pool.decode(encode(make_picture(seed=2), "PNG"))
        again = await pool.decode(encode(make_picture(700, 100, seed=1), "PNG"))

    assert len(second.views) < len(first.views)
    assert np.array_equal(first.views, again.views)


async def test_many_pictures_at_once_are_not_mixed_up() -> None:
    images = [encode(make_picture(120 + seed, 100, seed), "PNG") for seed in range(40)]
    settings = replace(SETTINGS, views=replace(VIEWS, enable_tta=False))

    async with running_pool(settings, processes=3) as pool:
        pictures = await asyncio.gather(*map(pool.decode, images))
        one_by_one = [await pool.decode(image) for image in images]

    for together, alone in zip(pictures, one_by_one, strict=True):
        assert np.array_equal(together.views, alone.views)
    assert len({picture.views.tobytes() for picture in pictures}) == 40


async def test_a_large_picture_reaches_the_child() -> None:
    settings = replace(
        SETTINGS, max_image_bytes=32 << 20, views=replace(VIEWS, view_size=512, crop_size=512, max_scaled_dim=1536)
    )
    image = encode(make_picture(3000, 2500), "BMP")

    async with running_pool(settings) as pool:
        picture = await pool.decode(image)

    assert len(image) > 20 << 20
    assert picture.views.shape == (8, 512, 512, 3)


async def test_a_rejected_picture_ends_no_process() -> None:
    async with running_pool() as pool:
        child = only_child().pid
        for image, code in (
            (b"no picture", "not_a_picture"),
            (encode(make_picture(), "PNG")[:500], "truncated_picture"),
        ):
            with pytest.raises(PictureRejected) as caught:
                await pool.decode(image)
            assert caught.value.code == code
        await pool.decode(encode(make_picture(), "PNG"))
        assert only_child().pid == child


async def test_limits_are_those_of_the_settings() -> None:
    image = encode(make_picture(320, 240), "PNG")

    async with running_pool(replace(SETTINGS, max_image_bytes=len(image), max_image_pixels=320 * 240)) as pool:
        await pool.decode(image)
        with pytest.raises(PictureRejected, match=r"\(MAX_IMAGE_BYTES\)") as too_long:
            await pool.decode(image + b"\0")
        with pytest.raises(PictureRejected, match=r"321 x 240 = 77,040 pixels") as too_large:
            await pool.decode(encode(make_picture(321, 240), "JPEG"))

    assert too_long.value.code == "too_many_bytes"
    assert f"{len(image) + 1:,} bytes; at most {len(image):,}" in too_long.value.message
    assert too_large.value.code == "too_many_pixels"


async def test_a_decompression_bomb_is_rejected_with_its_size() -> None:
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")

    async with running_pool() as pool:
        with pytest.raises(PictureRejected, match=r"20000 x 20000 = 400,000,000 pixels") as caught:
            await pool.decode(bomb)

    assert caught.value.code == "too_many_pixels"


async def test_signals_to_the_process_group_do_not_stop_the_children() -> None:
    async with running_pool() as pool:
        child = only_child().pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child, number)
        await pool.decode(encode(make_picture(), "PNG"))
        assert only_child().pid == child


async def test_modules_in_the_working_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("types.py", "sidecar.py", "PIL.py"):
        (tmp_path / name).write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(tmp_path)

    async with running_pool() as pool:
        await pool.decode(encode(make_picture(), "PNG"))


async def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"API_KEYS": "k", "DATABASE_URL": "u", "HF_TOKEN": "t", "PGPASSWORD": "p", "AWS_SECRET_ACCESS_KEY": "s"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    async with running_pool():
        (child,) = children()
        environment = child.environ()
    assert not secrets.keys() & environment.keys()
    assert "PATH" in environment


def open_files() -> set[str]:
    """Open files of this process that a pool might have leaked: pipes, sockets, shared files."""
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


async def test_a_closed_pool_leaves_no_children_and_no_open_files() -> None:
    files = open_files()

    async with running_pool(processes=2) as pool:
        assert len(children()) == 2
        await pool.decode(encode(make_picture(), "PNG"))

    assert children() == []
    assert open_files() == files
    await pool.close()
    with pytest.raises(DecoderUnavailable):
        await pool.decode(encode(make_picture(), "PNG"))


async def test_a_pool_that_is_closed_while_it_starts_leaves_no_children() -> None:
    pool = DecoderPool(replace(SETTINGS, processes=3))
    starting = asyncio.create_task(pool.start())

    async def has_started_all() -> bool:
        return len(children()) == 3

    await wait_until_async(has_started_all, "three children, of which some are not ready")
    await pool.close()

    with pytest.raises(DecoderUnavailable):
        await starting
    left = children()
    for child in left:  # or their pipes keep the test from ending
        child.kill()
    assert left == []


async def test_a_pool_starts_with_its_first_picture() -> None:
    pool = DecoderPool(SETTINGS)

    picture = await pool.decode(encode(make_picture(), "PNG"))
    await pool.close()

    assert len(picture.views) == 8


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_picture_of_a_lower_rank_overtakes_pictures_that_wait_longer() -> None:
    decoded: list[int] = []

    async def decode(pool: DecoderPool, rank: int) -> None:
        await pool.decode(encode(make_picture(), "PNG"), rank)
        decoded.append(rank)

    async with running_pool() as pool:
        child = only_child()
        slow = asyncio.create_task(pool.decode(make_slow_picture(), 3))
        await wait_until_busy(child)
        await asyncio.gather(slow, *(decode(pool, rank) for rank in (3, 3, 2, 3, 0)))

    assert decoded == [0, 2, 3, 3, 3]
