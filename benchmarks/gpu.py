"""`python -m benchmarks.gpu`: what a GPU makes of the model by each way of running it, from one text to the pipeline.

Each way is timed from arrays on the host to vectors on the host, in turn with the others, and compared with the plain
model in fp32. A way that fails is reported with its reason. `--device cpu --model demo --quick` runs the same code
anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figure import Figure, of_rounds
from benchmarks.hardware import describe_hardware
from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from sidecar.config import Settings, load_settings
from sidecar.errors import ConfigurationError, SidecarError
from sidecar.model.acceleration.accelerating import Acceleration
from sidecar.model.acceleration.attention import BACKENDS, with_backend
from sidecar.model.acceleration.compilation import compile_tower
from sidecar.model.acceleration.recording import CudaRecorder, record_tower, text_sizes
from sidecar.model.acceleration.tower import Inputs, Tower
from sidecar.model.device import ComputeDevice, choose_device
from sidecar.model.exports.encoder import ExportedEncoder
from sidecar.model.exports.loading import load_exported_encoder
from sidecar.model.loading import load_encoder_on
from sidecar.model.open_clip_encoder import Accelerate, OpenClipEncoder
from sidecar.model.precision import MIN_COSINE
from sidecar.model.torch_model import load_torch_model
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings

SIZES, QUICK_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32), (1, 3)
PARITY_SIZES = (1, 3, 8)
SERVED = "as served"
_WITHOUT_GPU = "HINT: To try the script without one: python -m benchmarks.gpu --device cpu --model demo --quick"

AnyEncoder: TypeAlias = OpenClipEncoder | ExportedEncoder


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how thoroughly."""

    settings: Settings
    compute: ComputeDevice
    export: Path | None
    sizes: Sequence[int]
    rounds: int
    round_s: float
    pictures: int
    matrix: int


@dataclass(slots=True)
class Way:
    """A way of running the model. `seconds[kind][size]` are those of a batch, a number for each round."""

    encoder: AnyEncoder | None = None
    failures: list[str] = field(default_factory=list)
    cosine: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def rates(self, kind: str, size: int) -> list[float]:
        return [size / seconds for seconds in self.seconds[kind][size]]

    def as_json(self) -> dict[str, Any]:
        timed = {
            kind: {str(size): {"a_second": size / median(rounds), "rounds_s": rounds} for size, rounds in sizes.items()}
            for kind, sizes in self.seconds.items()
        }
        return {"failures": self.failures, "least_cosine_to_fp32": self.cosine, "batches": timed}


class _Samples:
    """Texts and views; `batch` returns a function that encodes some of them."""

    def __init__(self, encoder: OpenClipEncoder, count: int) -> None:
        self._texts = encoder.prepare_texts([f"a photo of {number} red bicycles" for number in range(count)])
        side = encoder.view_size
        self._views = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    def batch(self, encoder: AnyEncoder, kind: str, size: int) -> Callable[[], NDArray[np.float32]]:
        if kind == "texts":
            return partial(encoder.encode_texts, self._texts[:size])
        return partial(encoder.encode_views, self._views[:size])


def main(options: Sequence[str] | None = None) -> None:
    """Exits with a message if there is no such device. `options`: of the command, by default the process's own."""
    arguments = _parse(options)
    plan = _plan(arguments)
    reference = load_encoder_on(ComputeDevice(plan.compute.device, "fp32"), plan.settings)
    samples = _Samples(reference, max(*plan.sizes, *PARITY_SIZES))
    torch.set_float32_matmul_precision("highest")
    expected = {kind: samples.batch(reference, kind, max(PARITY_SIZES))() for kind in ("texts", "pictures")}
    flops = {kind: _count_flops(samples.batch(reference, kind, 1)) for kind in ("texts", "pictures")}
    del reference
    torch.set_float32_matmul_precision(plan.settings.matmul_precision)
    ways = _make_ways(plan, arguments.only)
    for way in ways.values():
        _compare(way, samples, expected)
    _time_all(ways, samples, plan)
    figures = _summarise(ways, flops, plan)
    report = {
        "hardware": describe_hardware(),
        "model": plan.settings.vision_model_id,
        "device": plan.compute.name,
        "precision": plan.compute.precision,
        "ways": {name: way.as_json() for name, way in ways.items()},
        "figures": [figure.as_json() for figure in figures],
    }
    _print(report, ways, figures, plan)
    if arguments.json is not None:
        arguments.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def _parse(options: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", help="as VISION_MODEL_ID; default: that of the environment, else the sidecar's own")
    parser.add_argument("--export", type=Path, metavar="DIR", help="what sidecar export wrote, for onnx and tensorrt")
    parser.add_argument("--only", type=lambda names: names.split(","), metavar="WAYS", help=f"of: {', '.join(_WAYS)}")
    parser.add_argument("--quick", action="store_true", help="few sizes, rounds and pictures: to try the script")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    arguments = parser.parse_args(options)
    if unknown := set(arguments.only or ()) - set(_WAYS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are: {', '.join(_WAYS)}")
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {arguments.json.absolute().parent}")
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    on_cuda = arguments.device == "cuda"
    changes = {"require_cuda": on_cuda, "export_dir": arguments.export}
    if arguments.model:
        changes["vision_model_id"] = arguments.model
    try:
        settings = load_settings().model_copy(update=changes)
        compute = choose_device(settings) if on_cuda else ComputeDevice(torch.device("cpu"), "fp32")
    except ConfigurationError as error:
        sys.exit(f"ERROR: {str(error).splitlines()[0]}\n{_WITHOUT_GPU}")
    if arguments.quick:
        return Plan(settings, compute, arguments.export, QUICK_SIZES, 2, 0.0, 4, 256)
    return Plan(settings, compute, arguments.export, SIZES, 5, 0.2, 400, 8192)


def _make_ways(plan: Plan, only: Sequence[str] | None) -> dict[str, Way]:
    base = load_encoder_on(plan.compute, plan.settings)
    return {name: _make(name, base, plan) for name in _WAYS if only is None or name in only}


def _make(name: str, base: OpenClipEncoder, plan: Plan) -> Way:
    """A step of acceleration that fails says so in the log, and leaves the tower as it was: that is a failure here."""
    way = Way()
    handler = _KeepWarnings(way.failures)
    logging.getLogger("sidecar").addHandler(handler)
    try:
        way.encoder = _WAYS[name](base, plan)
    except (SidecarError, RuntimeError, AssertionError, ValueError, OSError) as error:
        way.failures.append(str(error).strip().splitlines()[0])
    finally:
        logging.getLogger("sidecar").removeHandler(handler)
    return way


class _KeepWarnings(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage())


def _make_eager(_base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    model = load_torch_model(plan.compute, plan.settings)
    assert isinstance(model.towers, torch.nn.Module)
    model.towers.to(memory_format=torch.contiguous_format)
    return model.encoder


def _make_faster(base: OpenClipEncoder, accelerate: Accelerate) -> OpenClipEncoder:
    faster = copy.copy(base)  # of the encoder only: the weights are shared
    faster.accelerate(accelerate)
    return faster


def _make_attention(backend: str, base: OpenClipEncoder, _plan: Plan) -> AnyEncoder:
    return _make_faster(base, lambda tower, _example, _inputs: with_backend(tower, BACKENDS[backend]))


def _make_graphs(base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    recorder = CudaRecorder(plan.compute.device)

    def record(tower: Tower, example: torch.Tensor, inputs: Inputs) -> Tower:
        return record_tower(tower, example, text_sizes(max(plan.sizes)), inputs, recorder)

    return _make_faster(base, record)


def _make_compiled(base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    def compiled(tower: Tower, example: torch.Tensor, inputs: Inputs) -> Tower:
        return compile_tower(tower, example, inputs, plan.compute.precision)

    return _make_faster(base, compiled)


def _make_both(base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    compiled = _make_compiled(base, plan)
    assert isinstance(compiled, OpenClipEncoder)
    return _make_graphs(compiled, plan)


def _make_served(base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    return _make_faster(base, Acceleration(plan.settings, plan.compute))


def _make_exported(backend: str, _base: OpenClipEncoder, plan: Plan) -> AnyEncoder:
    if plan.export is None:
        raise ValueError("no --export DIR was given: write one with sidecar export")
    return load_exported_encoder(plan.settings.model_copy(update={"encoder_backend": backend}))


_WAYS: Mapping[str, Callable[[OpenClipEncoder, Plan], AnyEncoder]] = {
    "eager": _make_eager,
    "channels_last": lambda base, _plan: base,
    **{f"attention {name}": partial(_make_attention, name) for name in BACKENDS},
    "graphs": _make_graphs,
    "compile": _make_compiled,
    "compile + graphs": _make_both,
    SERVED: _make_served,
    "onnx": partial(_make_exported, "onnx"),
    "tensorrt": partial(_make_exported, "tensorrt"),
}


def _compare(way: Way, samples: _Samples, expected: Mapping[str, NDArray[np.float32]]) -> None:
    """The least cosine to the plain model in fp32, in batches of several sizes."""
    if way.encoder is None:
        return
    least = MIN_COSINE[way.encoder.precision]
    for kind, vectors in expected.items():
        try:
            got = [samples.batch(way.encoder, kind, size)() for size in PARITY_SIZES]
        except SidecarError as error:
            way.failures.append(f"{kind}: {error}")
            way.encoder = None
            return
        way.cosine[kind] = min(float((part * vectors[: len(part)]).sum(axis=1).min()) for part in got)
        if not way.cosine[kind] >= least:
            way.failures.append(f"{kind} differ: cosine {way.cosine[kind]:.5f}, at least {least} is expected")


def _time_all(ways: Mapping[str, Way], samples: _Samples, plan: Plan) -> None:
    """A round of each way in turn, so that a busy moment affects all."""
    for kind in ("texts", "pictures"):
        for size in plan.sizes:
            for _ in range(plan.rounds):
                for way in ways.values():
                    _time(way, samples, kind, size, plan.round_s)


def _time(way: Way, samples: _Samples, kind: str, size: int, round_s: float) -> None:
    if way.encoder is None:
        return
    encode = samples.batch(way.encoder, kind, size)
    try:
        encode()
        calls, started = 0, time.perf_counter()
        while not calls or time.perf_counter() - started < round_s:
            encode()
            calls += 1
    except SidecarError as error:
        way.failures.append(f"{size} {kind}: {error}")
        return
    way.seconds.setdefault(kind, {}).setdefault(size, []).append((time.perf_counter() - started) / calls)


def _count_flops(encode: Callable[[], object]) -> float:
    """Floating-point operations of one input; without the fused form of attention, which is not counted."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            encode()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return float(counter.get_total_flops())


def _time_matrix_product(plan: Plan) -> list[float]:
    """TFLOP/s of a product of two square matrices in bf16."""
    side = plan.matrix
    one, other = (torch.randn(side, side, device=plan.compute.device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(one)

    def multiply(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            torch.mm(one, other, out=product)
        product[0, 0].item()  # waits for the device
        return time.perf_counter() - started

    multiply(3)
    return [2 * side**3 * 10 / multiply(10) / 1e12 for _ in range(plan.rounds)]


def _summarise(ways: Mapping[str, Way], flops: Mapping[str, float], plan: Plan) -> list[Figure]:
    """The figures that have goals, of the way that a sidecar runs the model; and how much of the device they use."""
    product = _time_matrix_product(plan)
    figures = [of_rounds("matrix product in bf16", product, "TFLOP/s", is_baseline=True)]
    served = ways.get(SERVED)
    if served is None or not served.seconds:
        return figures
    largest = plan.sizes[-1]
    views, texts = served.rates("pictures", largest), served.rates("texts", largest)
    used = [rate * flops["pictures"] / 1e12 for rate in views]
    shares = [one / other for one, other in zip(used, product, strict=True)]
    images, per_image = _time_pipeline(served, plan)
    device = [rate / per_image for rate in views]
    return [
        *figures,
        of_rounds(f"views, {largest} at a time", views, "views/s", ">= 640"),
        of_rounds("their arithmetic", used, "TFLOP/s"),
        of_rounds("their arithmetic / matrix product", shares, "ratio"),
        of_rounds(f"images with TTA, {per_image} views each, device only", device, "images/s", ">= 85"),
        of_rounds(f"texts, {largest} at a time", texts, "texts/s", ">= 6,000"),
        of_rounds("one text", [1000 * seconds for seconds in served.seconds["texts"][1]], "ms", "<= 2"),
        of_rounds("pipeline, JPEG to vector, with TTA", images, "images/s"),
        Figure("pipeline / device", median(images) / median(device), "ratio", ">= 0.95"),
    ]


def _time_pipeline(way: Way, plan: Plan) -> tuple[list[float], int]:
    """Images a second through decoder processes and batcher, as rows take it; and the views of an image."""
    assert way.encoder is not None
    return asyncio.run(_run_pipeline(way.encoder, plan))


async def _run_pipeline(encoder: AnyEncoder, plan: Plan) -> tuple[list[float], int]:
    settings = plan.settings.model_copy(update={"enable_tta": True})
    pool = DecoderPool(DecoderSettings.from_settings(settings, encoder.view_size, encoder.framing))
    batcher = Batcher(Devices([encoder]), BatchSettings.from_settings(settings))
    jpegs = [_draw_jpeg(number) for number in range(8)]
    places = asyncio.Semaphore(4 * settings.decode_processes)

    async def embed(number: int) -> None:
        async with places:
            picture = await pool.decode(jpegs[number % len(jpegs)])
            vector = await batcher.encode_picture(picture, Lane.BACKFILL, may_block=True)
            assert vector.shape == (encoder.dimensions,)

    await pool.start()
    try:
        async with background(batcher.run(), "device"):
            per_image = len((await pool.decode(jpegs[0])).views)
            rates = []
            for _ in range(plan.rounds):
                started = time.perf_counter()
                async with asyncio.TaskGroup() as tasks:
                    for number in range(plan.pictures):
                        tasks.create_task(embed(number))
                rates.append(plan.pictures / (time.perf_counter() - started))
    finally:
        await pool.close()
    return rates, per_image


def _draw_jpeg(seed: int) -> bytes:
    """1280 x 960 pixels with soft shapes and some noise, about as large as a photograph."""
    random = np.random.default_rng(seed)
    shapes = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((1280, 960))
    noisy = np.asarray(shapes, np.int16) + random.normal(0, 6, (960, 1280, 3)).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _print(report: Mapping[str, Any], ways: Mapping[str, Way], figures: Sequence[Figure], plan: Plan) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(f"{report['model']} on {report['device']} in {report['precision']}", highlight=False)
    for kind in ("texts", "pictures"):
        table = Table(f"{kind} a second, by batch", *(str(size) for size in plan.sizes), "cosine to fp32")
        for name, way in ways.items():
            timed = way.seconds.get(kind, {})
            rates = [f"{size / median(timed[size]):,.1f}" if size in timed else "-" for size in plan.sizes]
            table.add_row(name, *rates, f"{way.cosine[kind]:.5f}" if kind in way.cosine else "-")
        console.print(table)
    goals = Table("figure", "median", "from", "to", "unit", "goal", "reached")
    for figure in figures:
        least, most = figure.spread or (figure.value, figure.value)
        reached = {None: "", True: "yes", False: "NO"}[figure.met]
        numbers = (f"{value:,.3f}" for value in (figure.value, least, most))
        goals.add_row(figure.name, *numbers, figure.unit, figure.target or "", reached)
    console.print(goals)
    console.print("Goals are for the default model on an H100.")
    for name, way in ways.items():
        for failure in way.failures:
            console.print(f"{name}: {failure}", highlight=False, markup=False)


if __name__ == "__main__":
    main()
