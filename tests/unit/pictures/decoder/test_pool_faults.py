"""Faults of decoder processes, with real processes."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image

from sidecar.errors import DecoderUnavailable, PictureRejected
from sidecar.pictures.decoder.pool import MAX_ATTEMPTS, DecoderPool
from sidecar.pictures.decoder.process import MAX_LOGGED_BYTES
from sidecar.telemetry.logs.formatters import ContextFilter
from sidecar.telemetry.request_context import current_request_id
from sidecar.telemetry.telemetry import Telemetry
from tests.scrape import read_registry
from tests.unit.pictures.decoder.pools import (
    SETTINGS,
    children,
    is_alive,
    make_slow_picture,
    only_child,
    running_pool,
    wait_until_busy,
)
from tests.unit.pictures.pictures import encode, make_picture
from tests.waiting import wait_until, wait_until_async

GOOD = encode(make_picture(), "PNG")


async def test_a_crash_of_a_decoder_rejects_only_its_picture() -> None:
    async with running_pool() as pool:
        child = only_child()
        slow = asyncio.create_task(pool.decode(make_slow_picture()))
        waiting = [asyncio.create_task(pool.decode(GOOD)) for _ in range(3)]
        await wait_until_busy(child)
        child.send_signal(signal.SIGSEGV)

        with pytest.raises(PictureRejected, match="SIGSEGV") as caught:
            await slow
        assert caught.value.code == "decode_crashed"
        assert [len((await task).views) for task in waiting] == [8, 8, 8]
        assert only_child().pid != child.pid


async def test_the_death_of_an_idle_decoder_affects_no_picture() -> None:
    async with running_pool(processes=2) as pool:
        for child in children():
            child.kill()

        assert len((await pool.decode(GOOD)).views) == 8
        assert len((await pool.decode(GOOD)).views) == 8


async def test_a_replaced_decoder_is_counted() -> None:
    telemetry = Telemetry()
    async with running_pool(processes=2, telemetry=telemetry) as pool:
        assert pool.alive == 2
        child, _ = children()
        child.kill()

        async def is_missed() -> bool:
            return pool.alive == 1

        await wait_until_async(is_missed, "the pool to miss its child")
        for _ in range(2):
            await pool.decode(GOOD)
        assert pool.alive == 2
        assert read_registry(telemetry.metrics.registry).value("sidecar_decoder_restarts_total") == 1


async def test_the_death_of_a_decoder_before_it_received_the_picture_affects_no_picture() -> None:
    async with running_pool() as pool:
        child = only_child()
        child.suspend()
        task = asyncio.create_task(pool.decode(GOOD))
        await asyncio.sleep(0)  # the picture is handed over, but the child is dead
        child.kill()

        assert len((await task).views) == 8


async def test_a_hanging_decoder_rejects_one_picture() -> None:
    async with running_pool(replace(SETTINGS, timeout_s=1.0)) as pool:
        child = only_child()
        child.suspend()

        with pytest.raises(PictureRejected, match=r"longer than 1 s to decode \(DECODE_TIMEOUT_S\)") as caught:
            await pool.decode(GOOD)

        assert caught.value.code == "decode_timeout"
        assert len((await pool.decode(GOOD)).views) == 8
        assert only_child().pid != child.pid


async def test_a_picture_that_takes_too_long_is_rejected() -> None:
    async with running_pool(replace(SETTINGS, timeout_s=0.5)) as pool:
        with pytest.raises(PictureRejected) as caught:
            await pool.decode(make_slow_picture())

        assert caught.value.code == "decode_timeout"
        assert len((await pool.decode(GOOD)).views) == 8


async def test_a_picture_that_needs_too_much_memory_ends_no_process() -> None:
    async with running_pool(replace(SETTINGS, memory_bytes=300 << 20)) as pool:
        child = only_child().pid

        with pytest.raises(PictureRejected, match=r"more than the 300 MiB .* \(DECODE_MEMORY_BYTES\)") as caught:
            await pool.decode(make_slow_picture())

        assert caught.value.code == "decode_out_of_memory"
        assert len((await pool.decode(GOOD)).views) == 8
        assert only_child().pid == child


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_default_memory_is_enough_for_the_largest_pictures() -> None:
    pictures = [
        encode(Image.new("RGB", (10_000, 10_000)), "JPEG", progressive=True),
        encode(Image.new("LA", (10_000, 10_000)), "PNG"),
        encode(Image.new("I;16", (10_000, 10_000)), "PNG"),
    ]

    async with running_pool(replace(SETTINGS, max_image_bytes=32 << 20)) as pool:
        for image in pictures:
            assert len((await pool.decode(image)).views) == 6


async def test_the_pool_works_after_a_caller_was_cancelled() -> None:
    async with running_pool() as pool:
        child = only_child()
        slow = asyncio.create_task(pool.decode(make_slow_picture()))
        gone, waiting = (asyncio.create_task(pool.decode(GOOD)) for _ in range(2))
        await wait_until_busy(child)
        slow.cancel()
        gone.cancel()

        outcomes = await asyncio.gather(slow, gone, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
        assert len((await waiting).views) == 8
        assert [len((await pool.decode(GOOD)).views) for _ in range(3)] == [8, 8, 8]
        assert len(children()) == 1


async def test_the_pool_works_after_callers_were_cancelled_at_any_moment() -> None:
    async with running_pool(processes=2) as pool:
        for turns in range(30):
            tasks = [asyncio.create_task(pool.decode(GOOD)) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        results = await asyncio.gather(*(pool.decode(GOOD) for _ in range(6)))
        assert [len(result.views) for result in results] == [8] * 6
        assert len(children()) <= 2


async def test_closing_stops_decoding_and_rejects_no_picture() -> None:
    async with running_pool() as pool:
        running = asyncio.create_task(pool.decode(make_slow_picture()))
        waiting = asyncio.create_task(pool.decode(GOOD))
        await wait_until_busy(only_child())

    outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DecoderUnavailable] * 2
    assert children() == []


def break_pillow(directory: Path) -> Path:
    """Writes a Pillow that cannot be imported into `directory`; returns a file that gets a line per attempt."""
    attempts = directory / "attempts"
    package = directory / "PIL"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"with open({str(attempts)!r}, 'a') as file: print('imported', file=file)\nraise ImportError('broken Pillow')\n"
    )
    return attempts


async def test_a_broken_installation_is_reported_after_a_few_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = break_pillow(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(DecoderUnavailable, match=f"{MAX_ATTEMPTS} attempts"):
        await DecoderPool(replace(SETTINGS, processes=2)).start()

    assert len(attempts.read_text().splitlines()) == MAX_ATTEMPTS
    assert "ImportError: broken Pillow" in caplog.text
    assert "exit code 1" in caplog.text
    assert children() == []


async def test_lines_of_a_decoder_are_logged_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever reads from the pipe end, and including a last line without a line end."""
    lines = [f"{number} bottles of something on the wall" for number in range(300)]
    (tmp_path / "words").write_text("\n".join(lines))
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text(
        f"import os\nos.write(2, open({str(tmp_path / 'words')!r}, 'rb').read())\nos._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(DecoderUnavailable):
        await DecoderPool(SETTINGS).start()

    said = [r.getMessage().partition(": ")[2] for r in caplog.records if r.getMessage().startswith("decoder process")]
    assert "\n".join(said).splitlines() == lines * MAX_ATTEMPTS
    assert len(said) < 10 * MAX_ATTEMPTS, "records"


async def test_a_temporarily_broken_installation_affects_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_pillow(tmp_path)

    async with running_pool() as pool:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        only_child().kill()
        with pytest.raises(DecoderUnavailable):
            await pool.decode(GOOD)
        monkeypatch.delenv("PYTHONPATH")

        assert len((await pool.decode(GOOD)).views) == 8


async def test_closing_does_not_wait_for_further_attempts_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = break_pillow(tmp_path)

    async with running_pool() as pool:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        only_child().kill()
        task = asyncio.create_task(pool.decode(GOOD))

        async def has_tried() -> bool:
            return attempts.exists()

        await wait_until_async(has_tried, "an attempt to start")

    with pytest.raises(DecoderUnavailable, match="shutting down"):
        await task
    assert len(attempts.read_text().splitlines()) < MAX_ATTEMPTS


def make_damaged_fax() -> bytes:
    """libtiff logs a line about each damaged line of a fax, and continues."""
    image = bytearray(encode(make_picture(64, 20_000).convert("1"), "TIFF", compression="group3"))
    damaged = range(500, len(image) - 3000, 7)
    for place, value in zip(damaged, random.Random(0).randbytes(len(damaged)), strict=True):
        image[place] = value
    return bytes(image)


async def test_output_of_a_decoder_is_not_attributed_to_the_request_that_started_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.addFilter(ContextFilter())

    async def decode_for(request_id: str, image: bytes) -> None:
        current_request_id.set(request_id)
        await pool.decode(image)

    async with running_pool() as pool:
        only_child().kill()
        await asyncio.create_task(decode_for("the first", GOOD))
        await asyncio.create_task(decode_for("the second", make_damaged_fax()))

    said = [vars(record)["request_id"] for record in caplog.records if "Bad code word" in record.getMessage()]
    assert set(said) == {""}


async def test_complaints_of_a_codec_are_logged_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    async with running_pool() as pool:
        await pool.decode(make_damaged_fax())
        await pool.decode(GOOD)

    said = sum(len(record.getMessage()) for record in caplog.records if record.levelno == logging.WARNING)
    assert "Bad code word" in caplog.text
    assert 1000 < said < 2 * MAX_LOGGED_BYTES


PARENT = """
import asyncio
from tests.unit.pictures.decoder.pools import SETTINGS, children, running_pool

async def main():
    async with running_pool(SETTINGS, processes=2):
        print(*(child.pid for child in children()), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_end_with_their_parent_even_if_they_hang() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        orphans = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        orphans[0].suspend()
    finally:
        parent.kill()
        parent.communicate()

    def all_gone() -> bool:
        return not any(map(is_alive, orphans))

    assert len(orphans) == 2
    wait_until(all_gone, "the end of the orphans")
