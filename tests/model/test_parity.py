"""Vectors equal those of open_clip, except where open_clip misreads a picture."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.views.settings import ViewSettings
from tests.model.variants import load_on_cpu, settings_for
from tests.unit.pictures.pictures import encode, make_picture

SAME = 0.9999
DIFFERENT = 0.99
ORIENTATION = 0x0112
ROTATED_90_CLOCKWISE = 6

TEXTS = [
    "a photo of a cat",
    "Two DOGS run along the beach, at sunset!",
    "naïve café &amp; “quotes” 50% off",
    "a very long caption " * 30,
]

Vector = NDArray[np.float32]
Upstream = tuple[Any, Callable[[Image.Image], torch.Tensor], Callable[..., torch.Tensor]]


@pytest.fixture(scope="session")
def upstream(tiny_model: Path) -> Upstream:
    """open_clip's own model, transform and tokenizer."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tiny_model}")
    return model.eval(), transform, open_clip.get_tokenizer(f"local-dir:{tiny_model}")


@pytest.fixture
async def decoders(tiny_model: Path) -> AsyncIterator[DecoderPool]:
    """The service's decoder processes, with TTA off."""
    views = ViewSettings.from_settings(settings_for(tiny_model, ENABLE_TTA="0"), native_size=160)
    settings = DecoderSettings(
        views, processes=1, timeout_s=30, max_image_bytes=10**7, max_image_pixels=10**7, memory_bytes=2**31
    )
    pool = DecoderPool(settings)
    await pool.start()
    yield pool
    await pool.close()


def unit(raw: torch.Tensor) -> Vector:
    vectors: Vector = torch.nn.functional.normalize(raw.float(), dim=-1).numpy()
    return vectors


def upstream_vector(upstream: Upstream, image: bytes) -> Vector:
    model, transform, _ = upstream
    with Image.open(io.BytesIO(image)) as picture, torch.inference_mode():
        vector: Vector = unit(model.encode_image(transform(picture)[None]))[0]
    return vector


async def our_vector(encoder: OpenClipEncoder, decoders: DecoderPool, image: bytes) -> Vector:
    decoded = await decoders.decode(image)
    assert decoded.views.shape == (1, 160, 160, 3)
    vector: Vector = encoder.encode_views(decoded.views)[0]
    return vector


def squash_free_transform() -> Callable[[Image.Image], torch.Tensor]:
    """open_clip's transform for a configuration without preprocess_cfg: resizes the short side, crops the centre."""
    config = open_clip.transform.PreprocessCfg(size=160, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="shortest")
    transform: Callable[[Image.Image], torch.Tensor] = open_clip.transform.image_transform_v2(config, is_train=False)
    return transform


def opaque(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBA")


def half_transparent(picture: Image.Image) -> Image.Image:
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((40, 20, 260, 200), fill=255)
    picture = picture.convert("RGBA")
    picture.putalpha(mask)
    return picture


PLAIN_FILES = {
    "jpeg": encode(make_picture(), "JPEG", quality=90),
    "tall jpeg": encode(make_picture(150, 700), "JPEG", quality=60),
    "small jpeg": encode(make_picture(31, 17), "JPEG"),
    "png": encode(make_picture(), "PNG"),
    "opaque rgba": encode(opaque(make_picture()), "PNG"),
    "grey png": encode(make_picture().convert("L"), "PNG"),
    "grey jpeg": encode(make_picture().convert("L"), "JPEG"),
    "cmyk jpeg": encode(make_picture().convert("CMYK"), "JPEG", quality=95),
    "webp": encode(make_picture(), "WEBP", quality=90),
}


def test_texts_have_the_vectors_of_open_clip(upstream: Upstream, tiny_encoder: OpenClipEncoder) -> None:
    model, _, tokenizer = upstream
    with torch.inference_mode():
        theirs = unit(model.encode_text(tokenizer(TEXTS)))
    ours = tiny_encoder.encode_texts(tiny_encoder.prepare_texts(TEXTS))
    assert np.sum(ours * theirs, axis=1).min() >= SAME


def test_without_padding_a_text_would_have_another_vector(upstream: Upstream, tiny_encoder: OpenClipEncoder) -> None:
    """Negative control: vectors depend on the padding."""
    model, _, _ = upstream
    ours = tiny_encoder.encode_texts(tiny_encoder.prepare_texts(TEXTS[:1]))[0]
    ids = tiny_encoder.prepare_texts(TEXTS[:1])[0].token_ids
    with torch.inference_mode():
        unpadded = unit(model.encode_text(torch.from_numpy(ids[:6])[None]))[0]
    assert ours @ unpadded < DIFFERENT


@pytest.mark.parametrize("name", PLAIN_FILES)
async def test_pictures_have_the_vectors_of_open_clip(
    upstream: Upstream, tiny_encoder: OpenClipEncoder, decoders: DecoderPool, name: str
) -> None:
    theirs = upstream_vector(upstream, PLAIN_FILES[name])
    assert await our_vector(tiny_encoder, decoders, PLAIN_FILES[name]) @ theirs >= SAME


async def test_without_squashing_a_picture_would_have_another_vector(
    upstream: Upstream, tiny_encoder: OpenClipEncoder, decoders: DecoderPool
) -> None:
    """Negative control: vectors depend on the resizing."""
    model, _, tokenizer = upstream
    centre_cropped = upstream_vector((model, squash_free_transform(), tokenizer), PLAIN_FILES["jpeg"])
    assert await our_vector(tiny_encoder, decoders, PLAIN_FILES["jpeg"]) @ centre_cropped < DIFFERENT


async def test_another_vision_size_gives_the_vectors_of_open_clip(tiny_model: Path) -> None:
    model = open_clip.create_model_from_pretrained(
        f"local-dir:{tiny_model}", force_image_size=224, return_transform=False
    ).eval()
    encoder = load_on_cpu(tiny_model, VISION_SIZE="224")
    assert encoder.view_size == 224
    view = np.asarray(make_picture(224, 224))
    with torch.inference_mode():
        pixels = (torch.tensor(view).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
        theirs = unit(model.encode_image(pixels))[0]
    assert encoder.encode_views(view[None])[0] @ theirs >= SAME


def turned_by_exif() -> tuple[bytes, bytes]:
    upright = make_picture()
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED_90_CLOCKWISE
    return encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif), encode(upright, "PNG")


def sixteen_bits() -> tuple[bytes, bytes]:
    grey = make_picture().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return encode(deep, "PNG"), encode(grey, "PNG")


def palette() -> tuple[bytes, bytes]:
    picture = make_picture().quantize(64)
    return encode(picture, "PNG"), encode(picture.convert("RGB"), "PNG")


def transparent() -> tuple[bytes, bytes]:
    picture = half_transparent(make_picture())
    on_white = Image.new("RGB", picture.size, "white")
    on_white.paste(picture, mask=picture)
    return encode(picture, "PNG"), encode(on_white, "PNG")


@pytest.mark.parametrize(
    ("make_files", "open_clip_at_most"),
    [(turned_by_exif, DIFFERENT), (sixteen_bits, DIFFERENT), (transparent, DIFFERENT), (palette, SAME)],
)
async def test_pictures_that_open_clip_misreads_have_the_vectors_of_their_correct_pixels(
    upstream: Upstream,
    tiny_encoder: OpenClipEncoder,
    decoders: DecoderPool,
    make_files: Callable[[], tuple[bytes, bytes]],
    open_clip_at_most: float,
) -> None:
    misread, meant = make_files()
    expected = upstream_vector(upstream, meant)
    assert await our_vector(tiny_encoder, decoders, misread) @ expected >= SAME
    assert upstream_vector(upstream, misread) @ expected < open_clip_at_most
