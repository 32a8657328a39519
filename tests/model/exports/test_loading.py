"""Loading an export: the vectors and the fingerprint of PyTorch, on the device that was asked for or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidecar.errors import ConfigurationError, DeviceError, ModelError
from sidecar.model.exports.directory import MANIFEST_NAME, ExportDirectory
from sidecar.model.exports.encoder import ExportedEncoder
from sidecar.model.exports.loading import load_exported_encoder
from sidecar.model.exports.onnx_runtime import _tensorrt_options
from sidecar.model.golden import find_golden
from sidecar.model.loading import load_encoder
from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.precision import Precision
from sidecar.model.selftest import run_self_test
from tests.model.exports.conftest import TEXTS, draw_views
from tests.model.variants import copy_model, load_on_cpu, settings_for

BACKENDS = pytest.mark.parametrize(("backend", "least"), [("onnx", 0.9999), ("openvino", 0.999)])


def load(model: Path, export: Path, backend: str, **variables: str) -> ExportedEncoder:
    settings = settings_for(model, ENCODER_BACKEND=backend, EXPORT_DIR=str(export), **variables)
    encoder = load_encoder(settings)
    assert isinstance(encoder, ExportedEncoder)
    return encoder


@BACKENDS
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_vectors_are_those_of_pytorch_in_any_batch(
    tiny_model: Path, tiny_export: Path, tiny_encoder: OpenClipEncoder, backend: str, least: float, count: int
) -> None:
    encoder, views = load(tiny_model, tiny_export, backend), draw_views(160)[:count]
    texts = encoder.prepare_texts(TEXTS[:count])
    for got, expected in (
        (encoder.encode_texts(texts), tiny_encoder.encode_texts(texts)),
        (encoder.encode_views(views), tiny_encoder.encode_views(views)),
    ):
        assert got.shape == expected.shape == (count, 1152)
        assert got.dtype == np.float32
        assert np.sum(got * expected, axis=1).min() >= least
        assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-5


@BACKENDS
def test_the_vector_space_is_the_same_as_with_pytorch(
    tiny_model: Path, tiny_export: Path, backend: str, least: float
) -> None:
    for variables in ({}, {"ENABLE_TTA": "0"}, {"TTA_ANCHOR_WEIGHT": "0.5"}):
        torch_encoder = load_on_cpu(tiny_model, **variables)
        encoder = load(tiny_model, tiny_export, backend, **variables)
        assert encoder.fingerprint == torch_encoder.fingerprint
        assert (encoder.view_size, encoder.dimensions) == (torch_encoder.view_size, torch_encoder.dimensions)
        assert (encoder.pair_scale, encoder.framing) == (torch_encoder.pair_scale, torch_encoder.framing)


@BACKENDS
def test_the_self_test_compares_with_the_vectors_that_pytorch_computed(
    tiny_model: Path, tiny_export: Path, tmp_path: Path, backend: str, least: float
) -> None:
    golden = find_golden(f"local-dir:{tiny_model}", tiny_export)
    assert golden is not None
    assert golden.parent == tiny_export
    run_self_test(load(tiny_model, tiny_export, backend), golden)

    damaged = copy_model(tiny_export, tmp_path / "damaged")
    with (damaged / "text.onnx.data").open("r+b") as file:
        file.seek(100_000)
        file.write(np.full(20_000, 0.2, np.float32).tobytes())
    with pytest.raises(ModelError, match="golden"):
        run_self_test(load(tiny_model, damaged, backend), damaged / "golden.npz")


@BACKENDS
def test_no_rows_give_no_vectors(tiny_model: Path, tiny_export: Path, backend: str, least: float) -> None:
    encoder = load(tiny_model, tiny_export, backend)
    assert encoder.encode_texts([]).shape == encoder.encode_views(draw_views(160)[:0]).shape == (0, 1152)


@BACKENDS
def test_views_of_another_size_are_an_error_of_the_device(
    tiny_model: Path, tiny_export: Path, backend: str, least: float
) -> None:
    encoder = load(tiny_model, tiny_export, backend)
    with pytest.raises(DeviceError):
        encoder.encode_views(draw_views(161))
    assert np.isfinite(encoder.encode_views(draw_views(160))).all()


def test_it_needs_neither_the_weights_nor_the_directory_of_the_model(
    tiny_model: Path, tiny_export: Path, tmp_path: Path, tiny_encoder: OpenClipEncoder
) -> None:
    moved = copy_model(tiny_export, tmp_path / "moved")
    manifest = moved / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace(str(tiny_model), "/nowhere"))
    encoder = load(Path("/nowhere"), moved, "onnx")
    assert encoder.fingerprint == tiny_encoder.fingerprint


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"ENCODER_BACKEND": "onnx", "REQUIRE_CUDA": "1"},
            "cannot use a GPU through CUDA, only .*CPU",
        ),
        ({"ENCODER_BACKEND": "tensorrt"}, r"cannot use a GPU through Tensorrt, only .*CPU"),
        ({"ENCODER_BACKEND": "openvino", "REQUIRE_CUDA": "1"}, "computes on the CPU, and REQUIRE_CUDA=1 refuses that"),
        ({"ENCODER_BACKEND": "onnx", "VISION_SIZE": "320"}, "VISION_SIZE=320: the export reads 160 pixels"),
        (
            {"ENCODER_BACKEND": "onnx", "VISION_MODEL_ID": "demo"},
            "but VISION_MODEL_ID is 'demo'",
        ),
    ],
)
def test_what_the_export_or_the_machine_cannot_do_is_refused_and_never_done_elsewhere(
    tiny_model: Path, tiny_export: Path, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_exported_encoder(settings_for(tiny_model, EXPORT_DIR=str(tiny_export), **variables))


@pytest.mark.parametrize(("wanted", "warned"), [("bf16", True), ("fp32", False), (None, False)])
def test_a_precision_that_the_export_does_not_compute_in_is_warned_of(
    tiny_model: Path, tiny_export: Path, caplog: pytest.LogCaptureFixture, wanted: str | None, warned: bool
) -> None:
    variables = {} if wanted is None else {"MODEL_PRECISION": wanted}
    load(tiny_model, tiny_export, "onnx", **variables)
    unused = f"MODEL_PRECISION={wanted} is not used: the export computes in fp32 with ENCODER_BACKEND=onnx"
    assert (unused in caplog.messages) == warned


def test_tensorrts_engines_are_kept_apart_for_each_model_and_number_format(tmp_path: Path, tiny_export: Path) -> None:
    """onnxruntime takes an engine for that of any model whose graph has the same names."""
    directory, first = ExportDirectory(tmp_path), ExportDirectory(tiny_export).read_manifest()
    second = first.model_copy(update={"weights_digest": "0" * 64})
    precisions: tuple[Precision, Precision] = ("bf16", "fp32")
    options = [
        _tensorrt_options(directory, manifest, precision) for manifest in (first, second) for precision in precisions
    ]
    caches = [each["trt_engine_cache_path"] for each in options]
    assert len(set(caches)) == 4
    assert all(Path(cache).is_dir() and Path(cache).parent == tmp_path / "tensorrt" for cache in caches)
    assert [each["trt_bf16_enable"] for each in options] == [True, False, True, False]


def test_a_backend_without_an_export_is_refused_with_the_settings(tiny_model: Path) -> None:
    with pytest.raises(ConfigurationError, match="ENCODER_BACKEND='onnx': EXPORT_DIR has to name"):
        settings_for(tiny_model, ENCODER_BACKEND="onnx")


def test_a_directory_that_holds_no_export_is_an_error_with_the_command_that_makes_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The command refuses a directory that exists, so the hint names no such one."""
    (tmp_path / "file").write_text("no directory")
    for path, out in ((tmp_path, "a-new-directory"), (tmp_path / "file", "a-new-directory"), (tmp_path / "x", "/x")):
        with pytest.raises(ModelError, match=rf"holds no export: export\.json is missing\nHINT: .*--out .*{out}$"):
            load(tiny_model, path, "onnx")


@pytest.mark.parametrize(
    ("text", "found"), [("{", "Invalid JSON: EOF"), ('{"version": 2}', "version Input should be 1")]
)
def test_a_damaged_manifest_is_an_error_on_one_line(
    tiny_model: Path, tiny_export: Path, tmp_path: Path, text: str, found: str
) -> None:
    broken = copy_model(tiny_export, tmp_path / "broken")
    (broken / "export.json").write_text(text)
    with pytest.raises(ModelError, match=rf"^\S+/export\.json is damaged, or of another version .*{found}.*$"):
        load(tiny_model, broken, "onnx")


def test_an_export_without_golden_vectors_is_not_served_unchecked(
    tiny_model: Path, tiny_export: Path, tmp_path: Path
) -> None:
    broken = copy_model(tiny_export, tmp_path / "broken")
    (broken / "golden.npz").unlink()
    with pytest.raises(ModelError, match=r"golden\.npz is missing"):
        load(tiny_model, broken, "onnx")


@BACKENDS
def test_a_graph_that_is_no_graph_is_an_error_with_its_path(
    tiny_model: Path, tiny_export: Path, tmp_path: Path, backend: str, least: float
) -> None:
    broken = copy_model(tiny_export, tmp_path / "broken")
    (broken / "text.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"broken/text\.onnx cannot be loaded"):
        load(tiny_model, broken, backend)
