"""The rows of the example, which the package contains as an archive: emoji, their names and pictures."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from importlib.resources import as_file, files

PACKED_ROWS = "emoji.json"


@dataclass(frozen=True, slots=True)
class Emoji:
    """A row of the example. `picture` is a square WebP file.

    The demo's model was trained without the `held_out` emoji, and without `held_out_keywords` as captions.
    """

    id: int
    emoji: str
    name: str
    category: str
    keywords: tuple[str, ...]
    held_out: bool
    held_out_keywords: tuple[str, ...]
    picture: bytes


def picture_path(number: int) -> str:
    """The path in the archive of the picture of the emoji with id `number`."""
    return f"pictures/{number:04}.webp"


def read_emoji() -> list[Emoji]:
    """All emoji by id: those that people look for most come first."""
    with as_file(files("sidecar.demo") / "data" / "emoji.zip") as path, zipfile.ZipFile(path) as archive:
        return [_make(row, archive.read(picture_path(row["id"]))) for row in json.loads(archive.read(PACKED_ROWS))]


def _make(row: dict[str, object], picture: bytes) -> Emoji:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Emoji(**fields, picture=picture)  # type: ignore[arg-type]
