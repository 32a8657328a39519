"""`python -m training`: train the demo's model, step by step."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.card import read_log, write_card
from training.corpus import DEBIAN_CLDR, CorpusError
from training.dataset import Dataset, load_dataset, make_dataset
from training.evaluation import evaluate as measure
from training.evaluation import load_figures, save_figures
from training.export import export_model
from training.options import TrainingOptions, default_options
from training.rendering import DEBIAN_FONT
from training.run import CHECKPOINT_NAME, DATASET_NAME, LOG_NAME, OPTIONS_NAME, TrainingRun
from training.trainer import load_average

logger = logging.getLogger(__name__)

program = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

RunFolder = Annotated[Path, typer.Argument(help="The run's folder: data, tokenizer, checkpoint, log.")]
FiguresFile = Annotated[Path, typer.Argument(help="The measured figures, JSON.")]
ModelFolder = Annotated[Path, typer.Argument(help="The model's folder.")]


@program.command()
def prepare(
    run: RunFolder,
    cldr: Annotated[Path, typer.Option(help="CLDR's folder 'common'.")] = DEBIAN_CLDR,
    font: Annotated[Path, typer.Option(help="NotoColorEmoji.ttf")] = DEBIAN_FONT,
) -> None:
    """Render the emoji and write them with their names into the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    try:
        dataset = make_dataset(cldr, font)
    except CorpusError as error:
        raise SystemExit(str(error)) from error
    dataset.save(run / DATASET_NAME)
    logger.info("%d emoji in %s", len(dataset.emoji), run / DATASET_NAME)


@program.command()
def train(
    run: RunFolder,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: depends on the device.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Default: depends on the device.")] = None,
    compiled: Annotated[bool | None, typer.Option(help="Compile the towers. Default: depends on the device.")] = None,
) -> None:
    """Train, or continue from the last checkpoint. Requires the output of `prepare`."""
    device = _choose_device()
    dataset, options = _open_run(run, device)
    options = replace(
        options,
        steps=options.steps if steps is None else steps,
        batch_size=options.batch_size if batch_size is None else batch_size,
        compiled=options.compiled if compiled is None else compiled,
    )
    options.save(run / OPTIONS_NAME)
    logger.info("%s on %s", options, device)
    TrainingRun(run, dataset, options, device).finish()


@program.command()
def export(run: RunFolder, model: ModelFolder) -> None:
    """Write the trained model in the format that the product loads."""
    options = TrainingOptions.load(run / OPTIONS_NAME)
    export_model(load_average(run / CHECKPOINT_NAME, options), options.shape, run, model)


@program.command()
def evaluate(run: RunFolder, model: ModelFolder, figures: FiguresFile) -> None:
    """Evaluate an exported model through the product's pipeline."""
    measured = measure(model, load_dataset(run / DATASET_NAME))
    save_figures(measured, figures)
    for figure in measured:
        typer.echo(f"{figure.value:7.4f}  {figure.name}  ({figure.count})")


@program.command()
def card(
    run: RunFolder,
    model: ModelFolder,
    figures: FiguresFile,
    hardware: Annotated[str | None, typer.Option(help="The hardware of the training. Default: as logged.")] = None,
) -> None:
    """Write the model card with the figures of `evaluate`."""
    options = TrainingOptions.load(run / OPTIONS_NAME)
    logged, minutes = read_log(run / LOG_NAME)
    write_card(model, options, load_figures(figures), (hardware or logged, minutes))


def _open_run(run: Path, device: torch.device) -> tuple[Dataset, TrainingOptions]:
    saved = run / OPTIONS_NAME
    if not (run / DATASET_NAME).exists():
        raise SystemExit(f"{run / DATASET_NAME} does not exist: type python -m training prepare {run}")
    return load_dataset(run / DATASET_NAME), TrainingOptions.load(saved) if saved.exists() else default_options(device)


def _choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    program()
