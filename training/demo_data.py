"""Packs the rows of the example table into a file of the package."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from sidecar.demo.emoji import PACKED_ROWS, picture_path
from training.corpus import DEBIAN_CLDR, CorpusError
from training.dataset import Dataset, make_dataset
from training.holdout import Holdout, draw_holdout
from training.rendering import DEBIAN_FONT

PACKAGED = Path(__file__).parents[1] / "sidecar" / "demo" / "data" / "emoji.zip"

DEBIAN_EMOJI_TEST = Path("/usr/share/unicode/emoji/emoji-test.txt")
DEBIAN_EMOJI_TEST_PACKAGE = "unicode-data"

_GROUP = "# group: "
_IN_FULL = ("fully-qualified", "component")
_SHOW_AS_PICTURE = "\N{VARIATION SELECTOR-16}"

_SIDE = 128
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip file; fixed, so that the bytes are reproducible
_HAIR = "Component"
_PEOPLE = "People & Body"


@dataclass(frozen=True, slots=True)
class KeyboardEntry:
    """An emoji of Unicode's emoji-test.txt. `characters` include the variation selectors that request a picture."""

    characters: str
    category: str
    position: int


def demo_data(
    path: Annotated[Path, typer.Argument(help="The zip file to write.")] = PACKAGED,
    cldr: Annotated[Path, typer.Option(help="CLDR's folder 'common'.")] = DEBIAN_CLDR,
    font: Annotated[Path, typer.Option(help="NotoColorEmoji.ttf")] = DEBIAN_FONT,
    emoji_test: Annotated[Path, typer.Option(help="Unicode's emoji-test.txt")] = DEBIAN_EMOJI_TEST,
) -> None:
    """Pack the rows of the example table into the package."""
    try:
        dataset, keyboard = make_dataset(cldr, font), read_keyboard(emoji_test)
    except CorpusError as error:
        raise SystemExit(str(error)) from error
    count = write_demo_data(path, dataset, draw_holdout(dataset.emoji), keyboard)
    typer.echo(f"{count} emoji in {path}, {path.stat().st_size / 1e6:.1f} MB")


def write_demo_data(path: Path, dataset: Dataset, holdout: Holdout, keyboard: Mapping[str, KeyboardEntry]) -> int:
    """Writes a zip file with emoji.json and a picture for each emoji; returns their number.

    The demo embeds them in this order: single characters, which are searched for most, then sequences, then flags.
    """
    keys = [keyboard[without_selectors(emoji.characters)] for emoji in dataset.emoji]
    order = sorted(range(len(keys)), key=lambda index: (_rank(keys[index]), keys[index].position))
    with zipfile.ZipFile(path, "w") as archive:
        rows = [_describe(number, index, dataset, holdout, keys) for number, index in enumerate(order, 1)]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        _add(archive, PACKED_ROWS, f"[\n{lines}\n]\n".encode())
        for number, index in enumerate(order, 1):
            _add(archive, picture_path(number), encode_picture(dataset.pictures[index]))
    return len(order)


def encode_picture(pixels: NDArray[np.uint8]) -> bytes:
    """(128, 136, 4) uint8 RGBA → a square lossless WebP on white, without the empty margins."""
    margin = (pixels.shape[1] - _SIDE) // 2
    kept = Image.fromarray(np.ascontiguousarray(pixels[:, margin : margin + _SIDE]))
    picture = Image.new("RGB", kept.size, "white")
    picture.paste(kept, mask=kept)
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True, quality=75, method=4)
    return file.getvalue()


def _rank(key: KeyboardEntry) -> int:
    if key.category == "Flags":
        return 2
    return int(len(without_selectors(key.characters)) > 1)


def _describe(
    number: int, index: int, dataset: Dataset, holdout: Holdout, keys: Sequence[KeyboardEntry]
) -> dict[str, int | str | list[str] | bool]:
    emoji, key = dataset.emoji[index], keys[index]
    return {
        "id": number,
        "emoji": key.characters,
        "name": emoji.name,
        "category": _PEOPLE if key.category == _HAIR else key.category,
        "keywords": list(emoji.keywords),
        "held_out": index in holdout.emoji,
        "held_out_keywords": sorted(holdout.keywords.intersection(emoji.keywords)),
    }


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Adds pictures uncompressed: they would not get smaller."""
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.compress_type = zipfile.ZIP_DEFLATED if name == PACKED_ROWS else zipfile.ZIP_STORED
    archive.writestr(entry, content)


def read_keyboard(path: Path = DEBIAN_EMOJI_TEST) -> Mapping[str, KeyboardEntry]:
    """The entries of emoji-test.txt, by characters as CLDR writes them. Raises CorpusError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({error}): on Debian, apt-get install {DEBIAN_EMOJI_TEST_PACKAGE}; elsewhere name "
            f"Unicode's emoji-test.txt with --emoji-test"
        ) from error
    return {without_selectors(key.characters): key for key in _parse(lines)}


def without_selectors(characters: str) -> str:
    """The characters without variation selectors, as CLDR writes them."""
    return characters.replace(_SHOW_AS_PICTURE, "")


def _parse(lines: list[str]) -> Iterator[KeyboardEntry]:
    category = ""
    for position, line in enumerate(lines):
        if line.startswith(_GROUP):
            category = line.removeprefix(_GROUP)
        code_points, _, rest = line.partition(";")
        if rest.strip().startswith(_IN_FULL):
            yield KeyboardEntry("".join(chr(int(code, 16)) for code in code_points.split()), category, position)


if __name__ == "__main__":
    typer.run(demo_data)
