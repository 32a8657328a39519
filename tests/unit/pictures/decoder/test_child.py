from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.pictures.decoder.pools import SETTINGS, only_child, running_pool
from tests.unit.pictures.pictures import FORMATS, encode, make_picture

HEAVY = ("torch", "torchvision", "open_clip", "transformers", "numpy", "pydantic", "asyncio")


def test_a_decoder_process_imports_nothing_heavy() -> None:
    code = f"import sys, sidecar.pictures.decoder.child; print([name for name in {HEAVY} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert said == "[]\n"


async def test_a_working_decoder_process_has_imported_nothing_heavy() -> None:
    async with running_pool() as pool:
        for picture_format in FORMATS:
            await pool.decode(encode(make_picture(), picture_format))
        mapped = {Path(region.path).name for region in only_child().memory_maps()}

    assert any(name.startswith("_imaging.") for name in mapped)
    assert not [name for name in mapped if "torch" in name or "multiarray" in name]


def test_a_decoder_process_without_its_parent_ends() -> None:
    code = "from sidecar.pictures.decoder.child import main; main()"
    arguments = [SETTINGS.to_json(), "0", "1"]  # process 1 is not the parent

    ended = subprocess.run([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, check=False, timeout=30)

    assert ended.returncode == 1
