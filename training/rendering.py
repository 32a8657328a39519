"""Emoji → pictures, with the Noto Color Emoji font."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.corpus import CorpusError, Emoji

DEBIAN_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
DEBIAN_FONT_PACKAGE = "fonts-noto-color-emoji"

WIDTH, HEIGHT = 136, 128
"""Of every picture, in pixels: that of the font's only bitmaps."""
_FONT_SIZE = 109
_CLEAR = (0, 0, 0, 0)


def load_font(path: Path = DEBIAN_FONT) -> ImageFont.FreeTypeFont:
    """Loads the font. Raises CorpusError that names the package to install."""
    try:
        # Read here: if the path does not exist, Pillow would search for a font of the same name elsewhere.
        return ImageFont.truetype(io.BytesIO(path.read_bytes()), _FONT_SIZE)
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({error}): on Debian, apt-get install {DEBIAN_FONT_PACKAGE}; "
            f"elsewhere name NotoColorEmoji.ttf with --font"
        ) from error


def render(characters: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8] | None:
    """(128, 136, 4) uint8 RGBA, transparent around the emoji; None if the font has no single glyph for it."""
    if round(font.getlength(characters)) != WIDTH:  # several glyphs side by side
        return None
    top = font.getbbox(characters)[1]
    picture = Image.new("RGBA", (WIDTH, HEIGHT), _CLEAR)
    ImageDraw.Draw(picture).text((0, -top), characters, font=font, embedded_color=True)
    return np.asarray(picture) if picture.getbbox() else None


def render_distinct(
    annotated: Sequence[Emoji], font: ImageFont.FreeTypeFont
) -> tuple[tuple[Emoji, ...], NDArray[np.uint8]]:
    """The emoji with a picture, without duplicates, and the pictures (n, 128, 136, 4) uint8.

    Emoji with the same picture, such as the flags of Norway and Bouvet Island, are merged: the shortest name remains,
    the others become keywords.
    """
    alike: defaultdict[bytes, list[Emoji]] = defaultdict(list)
    pictures: dict[bytes, NDArray[np.uint8]] = {}
    for emoji in annotated:
        picture = render(emoji.characters, font)
        if picture is not None:
            alike[picture.tobytes()].append(emoji)
            pictures[picture.tobytes()] = picture
    return tuple(_merge(group) for group in alike.values()), np.stack(list(pictures.values()))


def _merge(alike: Sequence[Emoji]) -> Emoji:
    kept = min(alike, key=lambda emoji: (len(emoji.name), emoji.name))
    keywords = {keyword for emoji in alike for keyword in (*emoji.keywords, emoji.canonical_name)}
    return replace(kept, keywords=tuple(sorted(keywords - {kept.canonical_name})))
