from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sidecar.model.loading import load_encoder
from sidecar.model.selftest import run_self_test
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.views.settings import ViewSettings
from tests.model.full_size import make_full_size_model
from tests.model.variants import WEIGHTS_NAME, settings_for
from tests.unit.pictures.pictures import encode, make_picture

pytestmark = [pytest.mark.slow_model, pytest.mark.timeout(1200)]

PICTURE = encode(make_picture(500, 500), "JPEG")


@pytest.fixture(scope="module")
def full_size_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Deleted afterwards: pytest would keep the 3.5 GB of three runs."""
    directory = tmp_path_factory.mktemp("full-size")
    make_full_size_model(directory)
    yield directory
    (directory / WEIGHTS_NAME).unlink()


@pytest.mark.parametrize(("enable_tta", "views"), [("0", 1), ("1", 6)])
async def test_the_default_architecture_embeds_texts_and_pictures(
    full_size_model: Path, enable_tta: str, views: int
) -> None:
    settings = settings_for(full_size_model, ENABLE_TTA=enable_tta, VISION_SIZE="384")
    encoder = load_encoder(settings)
    assert encoder.fingerprint.startswith("vit_so400m_patch14_siglip_384-")
    pool = DecoderPool(
        DecoderSettings(ViewSettings.from_settings(settings, encoder.view_size), 1, 30, 10**7, 10**7, 2**31)
    )
    await pool.start()
    decoded = await pool.decode(PICTURE)
    await pool.close()
    vectors = [
        encoder.encode_texts(encoder.prepare_texts(["a photo of a cat"])),
        encoder.encode_views(decoded.views),
    ]
    assert [len(part) for part in vectors] == [1, views]
    for part in vectors:
        assert part.shape[1:] == (1152,)
        assert np.abs(np.linalg.norm(part, axis=1) - 1).max() < 1e-5


def test_it_has_the_parameters_of_the_default_model(full_size_model: Path) -> None:
    with safe_open(full_size_model / WEIGHTS_NAME, framework="np") as weights:
        count = sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118
    assert round(count / 1e6, 2) == 877.96


def test_it_passes_its_self_test(full_size_model: Path) -> None:
    run_self_test(load_encoder(settings_for(full_size_model)), None)
