"""`sidecar export`"""

from __future__ import annotations

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sidecar.cli.options import Json
from sidecar.cli.output import make_console, print_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sidecar.config import Settings
    from sidecar.model.exports.parity import Parity


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The directory to write; it must not exist.")],
    format: Annotated[Literal["onnx"], typer.Option(help="The format of the graphs.")] = "onnx",  # noqa: A002
    precision: Annotated[
        Literal["fp32", "int8"], typer.Option(help="Numbers of the weights; int8 is for processors.")
    ] = "fp32",
    pictures: Annotated[
        int, typer.Option(metavar="N", min=10, max=1800, help="How many pictures and texts are compared.")
    ] = 64,
    as_json: Json = False,
) -> None:
    """Export the model for ENCODER_BACKEND=onnx, openvino or tensorrt.

    The export is compared with the model, on the demo's emoji and their names, and deleted if it differs.

    \b
    Example:
      VISION_MODEL_ID=demo sidecar export --out demo-onnx
      ENCODER_BACKEND=onnx EXPORT_DIR=demo-onnx VISION_MODEL_ID=demo REQUIRE_CUDA=0 sidecar serve
    """
    from sidecar.config import load_settings, set_openmp_defaults

    set_openmp_defaults()
    from sidecar.demo.emoji import read_emoji
    from sidecar.model.exports.exporting import ExportRequest, export_model

    emoji = read_emoji()[:pictures]
    console = make_console(stderr=True)
    request = ExportRequest(
        directory=out,
        precision=precision,
        texts=[each.name for each in emoji],
        draw_views=lambda size: _draw([each.picture for each in emoji], size),
        report=lambda step: console.print(f"{step} …", highlight=False),
    )
    settings = load_settings()
    parities = export_model(settings, request)
    if as_json:
        print_json({"directory": str(out.absolute()), "format": format, "parity": [asdict(each) for each in parities]})
        return
    for parity in parities:
        print_parity(parity)
    typer.echo(f"Serve it with: {serving_command(settings, out)}")


def _draw(pictures: list[bytes], size: int) -> NDArray[np.uint8]:
    """(n, size, size, 3) uint8: whole pictures, squashed to the model's square."""
    import numpy as np
    from PIL import Image

    def draw(picture: bytes) -> Any:
        with Image.open(BytesIO(picture)) as opened:
            return np.asarray(opened.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))

    return np.stack([draw(picture) for picture in pictures])


def serving_command(settings: Settings, out: Path) -> str:
    """The command that serves the export in `out`, under the name by which `settings` have its model."""
    variables = {"ENCODER_BACKEND": "onnx", "EXPORT_DIR": str(out), "VISION_MODEL_ID": settings.vision_model_id}
    if not settings.require_cuda:
        variables["REQUIRE_CUDA"] = "0"
    return " ".join([*(f"{name}={quote(value)}" for name, value in variables.items()), "sidecar serve"])


def print_parity(parity: Parity) -> None:
    """Prints how far a backend is from PyTorch, a fact on a line."""
    typer.echo(f"{parity.backend} in {parity.precision}, beside PyTorch in fp32 on this machine's CPU:")
    for name, value in (
        ("texts", f"cosine at least {parity.text_cosine:.6f}"),
        ("pictures", f"cosine at least {parity.view_cosine:.6f}"),
        ("searches", f"{parity.overlap:.1%} of the ten nearest pictures are the same"),
        ("speed", f"{parity.speed_up:.2f} times as many pictures per second"),
    ):
        typer.echo(f"    {name:<10}{value}")
