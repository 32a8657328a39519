"""A synthetic data set that needs neither font nor CLDR: coloured shapes with made-up names."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from training.architecture import Shape
from training.corpus import Emoji
from training.dataset import Dataset
from training.options import TrainingOptions
from training.rendering import HEIGHT, WIDTH

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "pink")
FORMS = ("disc", "box", "bar", "ring")
MOODS = ("calm", "loud", "old", "new", "shy", "bold", "slow")

TINY_SHAPE = Shape(
    image_size=32,
    patch_size=16,
    vision_width=64,
    vision_layers=1,
    context_length=16,
    vocabulary_size=400,
    text_width=64,
    text_layers=1,
)
TINY_OPTIONS = TrainingOptions(steps=4, batch_size=8, warmup_steps=2, captions_per_emoji=8, shape=TINY_SHAPE)


def make_emoji_set() -> Dataset:
    """32 shapes: each colour in each form, with moods and kinds as keywords."""
    emoji, pictures = [], []
    for number, (colour, form) in enumerate((colour, form) for colour in COLOURS for form in FORMS):
        keywords = {colour, f"{MOODS[number % len(MOODS)]} thing", f"sort {number}", f"{form} shape"}
        emoji.append(Emoji(chr(0x1F600 + number), f"{colour} {form}", tuple(sorted(keywords))))
        pictures.append(_draw(colour, form))
    return Dataset(tuple(emoji), np.stack(pictures))


def _draw(colour: str, form: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    box = (14, 10, 122, 118) if form != "bar" else (14, 50, 122, 78)
    if form in ("disc", "ring"):
        pen.ellipse(box, fill=colour if form == "disc" else None, outline=colour, width=16)
    else:
        pen.rectangle(box, fill=colour)
    return np.asarray(picture)
