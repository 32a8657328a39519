"""`python -m benchmarks.gpus`: pictures a second on one GPU, two, and all of this machine, through one batcher.

Views are drawn beforehand, so that decoders do not count. `--copies 2 --model demo --quick` runs the same code on
a CPU, with copies of the model that compete for it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from itertools import count
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.encoder import Encoder
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from sidecar.config import load_settings
from sidecar.errors import ConfigurationError
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.loading import load_encoder_on, load_encoders
from sidecar.pictures.picture import DecodedPicture
from sidecar.settings import Settings

_VIEWS = 8  # of a picture
_TARGETS = {2: 1.9, 4: 3.6}


def main(options: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpus", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--model", help="as VISION_MODEL_ID; default: that of the environment, else the sidecar's own")
    parser.add_argument("--copies", type=int, help="without a GPU: copies of the model on the CPU")
    parser.add_argument("--quick", action="store_true", help="few rounds and pictures: to try the script")
    arguments = parser.parse_args(options)
    changes: dict[str, object] = {"require_cuda": arguments.copies is None}
    settings = load_settings()
    if arguments.copies is None:
        changes["cuda_device"] = settings.cuda_device or "all"
    if arguments.model:
        changes["vision_model_id"] = arguments.model
    settings = settings.model_copy(update=changes)
    try:
        encoders = _load(settings, arguments.copies)
    except ConfigurationError as error:
        sys.exit(f"ERROR: {str(error).splitlines()[0]}\nHINT: To try it without one: --copies 2 --model demo --quick")
    rounds, pictures = (2, 8) if arguments.quick else (5, 400)
    asyncio.run(_measure(settings, encoders, rounds, pictures))


def _load(settings: Settings, copies: int | None) -> Sequence[Encoder]:
    if copies is None:
        return load_encoders(settings)
    compute = choose_device(settings)
    first = load_encoder_on(compute, settings)
    return [first, *(first.copy_to(ComputeDevice(compute.device, first.precision)) for _ in range(copies - 1))]


async def _measure(settings: Settings, encoders: Sequence[Encoder], rounds: int, pictures: int) -> None:
    """Within a round, one, two, four … devices follow one another."""
    numbers = sorted({number for number in (1, 2, 4, 8, len(encoders)) if number <= len(encoders)})
    rates: dict[int, list[float]] = {number: [] for number in numbers}
    for number in numbers * rounds:
        rates[number].append(await _time(settings, encoders[:number], pictures * number))
    table = Table("devices", "pictures/s", "times one", "target")
    for number in numbers:
        ratio = median(several / one for several, one in zip(rates[number], rates[1], strict=True))
        target = f">= {_TARGETS[number]}" if number in _TARGETS else ""
        table.add_row(str(number), f"{median(rates[number]):,.1f}", f"{ratio:.2f}", target)
    Console().print(table)


async def _time(settings: Settings, encoders: Sequence[Encoder], pictures: int) -> float:
    batcher = Batcher(Devices(encoders), BatchSettings.from_settings(settings))
    side = encoders[0].view_size
    views = np.random.default_rng(0).integers(0, 256, (_VIEWS, side, side, 3), dtype=np.uint8)
    picture = DecodedPicture(views, np.full(_VIEWS, 1 / _VIEWS, np.float32))
    left = iter(range(pictures))
    digests = count()

    async def embed() -> None:
        for _ in left:
            digest = next(digests).to_bytes(8)
            await batcher.encode_picture(picture, Lane.BACKFILL, digest, may_block=True)

    async with background(batcher.run(), "devices"):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(16 * len(encoders)):
                tasks.create_task(embed())
        return pictures / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
