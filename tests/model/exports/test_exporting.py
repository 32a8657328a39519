"""Exports of the tiny model: what is in them, and that one which differs from the model is not kept."""

from __future__ import annotations

import gc
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sidecar.config import load_settings
from sidecar.errors import ConfigurationError, ModelError
from sidecar.model.checkpoints.checkpoint import find_checkpoint
from sidecar.model.exports.directory import ExportDirectory
from sidecar.model.exports.exporting import export_model
from sidecar.model.exports.graphs import OPSET
from sidecar.model.open_clip_encoder import OpenClipEncoder
from tests.model.exports.conftest import draw_views, make_request
from tests.model.variants import WEIGHTS_NAME, settings_for


def test_the_graphs_take_any_number_of_rows_and_hold_no_weights(tiny_export: Path) -> None:
    for tower, sides in (("image", [160, 160, 3]), ("text", [64])):
        path = ExportDirectory(tiny_export).graph(tower)  # type: ignore[arg-type]
        model = onnx.load(path, load_external_data=False)
        (batch, *rest) = model.graph.input[0].type.tensor_type.shape.dim
        assert batch.dim_param
        assert [side.dim_value for side in rest] == sides
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
        assert path.stat().st_size < Path(f"{path}.data").stat().st_size


def test_the_manifest_says_what_was_exported(tiny_export: Path, tiny_encoder: OpenClipEncoder) -> None:
    manifest = ExportDirectory(tiny_export).read_manifest()
    assert (manifest.precision, manifest.view_size) == ("fp32", 160)
    assert manifest.model_id == tiny_encoder.model_id
    assert manifest.weights.pair_scale == tiny_encoder.pair_scale
    assert manifest.made_by["torch"] == torch.__version__.partition("+")[0]


def test_int8_weights_of_the_demos_model_pass_the_gate_and_take_less_room(tmp_path: Path) -> None:
    settings, out = load_settings({"VISION_MODEL_ID": "demo", "REQUIRE_CUDA": "0"}), tmp_path / "int8"
    parities = export_model(settings, make_request(out, precision="int8"))
    assert {parity.precision for parity in parities} == {"int8"}
    data = out / "text.onnx.data"
    assert data.stat().st_size < find_checkpoint("demo", None).weights.stat().st_size / 2
    assert data.stat().st_mode == (out / "text.onnx").stat().st_mode
    assert not (out / "fp32").exists()
    assert not (out / "lock").exists()


@dataclass(frozen=True, slots=True)
class Failed:
    """An export that failed: why, what was left of it, and the bytes of weights in memory before and at the end."""

    message: str
    left: list[Path]
    held: list[int]
    size: int


def damage(weights: Path) -> None:
    """Sets a half of them to 0: whether rounding alone is too much depends on the processor."""
    content = weights.read_bytes()
    weights.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])


@pytest.fixture(scope="module")
def failed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Failed:
    directory, held = tmp_path_factory.mktemp("failed"), []

    def measure(step: str) -> None:
        if step.startswith(("Computing", "Comparing")):
            tensors = (each for each in gc.get_objects() if type(each) is torch.nn.Parameter)
            held.append(sum(tensor.untyped_storage().nbytes() for tensor in tensors))
        if step.startswith("Comparing"):
            damage(next(directory.rglob("text.onnx.data")))

    request = replace(make_request(directory / "export", precision="int8"), report=measure)
    with pytest.raises(ModelError) as raised:
        export_model(settings_for(tiny_model), request)
    return Failed(str(raised.value), list(directory.iterdir()), held, (tiny_model / WEIGHTS_NAME).stat().st_size)


def test_an_export_that_differs_from_the_model_is_deleted(failed: Failed) -> None:
    assert re.match(r"onnx in int8 differs from the model: .*cosine of -?0\.\d+, at least", failed.message)
    assert failed.left == []


def test_the_weights_have_left_the_memory_when_an_export_is_compared(failed: Failed) -> None:
    """The exporter's caches keep the tensors: without freeing them the full-size model would be there twice."""
    computing, comparing = failed.held
    assert computing - comparing > 0.9 * failed.size


def test_a_directory_that_exists_is_left_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigurationError, match="this exists\nHINT: Name a new directory"):
        export_model(settings_for(tiny_model), make_request(tmp_path))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_an_error_with_its_name(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(ModelError, match=r"file/export cannot be written: .*Not a directory"):
        export_model(settings_for(tiny_model), make_request(tmp_path / "file" / "export"))


def test_a_missing_library_is_named_before_the_model_is_loaded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    steps: list[str] = []
    with pytest.raises(ConfigurationError, match=r"needs onnxscript, .*\nHINT: pip install onnxscript$"):
        export_model(settings_for(tiny_model), make_request(tmp_path / "export", report=steps.append))
    assert steps == []
    assert list(tmp_path.iterdir()) == []


class Stopped(Exception):
    """Raised by a test in the midst of an export."""


def test_two_exports_to_one_directory_do_not_mix_their_files(tiny_model: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "export", settings_for(tiny_model)

    def start_another(step: str) -> None:
        (unfinished,) = tmp_path.iterdir()
        (unfinished / "graph").write_text("of the first")
        with pytest.raises(ConfigurationError, match=r"export: another sidecar export is writing it\nHINT: Wait"):
            export_model(settings, make_request(out))
        assert (unfinished / "graph").read_text() == "of the first"
        raise Stopped

    with pytest.raises(Stopped):
        export_model(settings, make_request(out, report=start_another))
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_is_not_written_whole_is_said_to_be_a_full_disk(tiny_model: Path, tmp_path: Path) -> None:
    def write(step: str) -> None:
        if step.startswith("Writing"):
            np.zeros(1 << 16).tofile("/dev/full")

    with pytest.raises(ModelError, match=r"export cannot be written: .*is the disk full\?"):
        export_model(settings_for(tiny_model), make_request(tmp_path / "export", report=write))


def test_what_a_killed_export_left_is_deleted(tiny_model: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "export.unfinished"
    (unfinished / "tokenizer").mkdir(parents=True)
    (unfinished / "export.json").write_text("of the killed one")

    def look(step: str) -> None:
        assert [path.name for path in unfinished.iterdir()] == ["lock"]
        raise Stopped

    with pytest.raises(Stopped):
        export_model(settings_for(tiny_model), make_request(tmp_path / "export", report=look))


def test_the_samples_differ() -> None:
    views = draw_views(160)
    assert len(np.unique(views.reshape(len(views), -1), axis=0)) == len(views)
