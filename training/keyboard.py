"""Emoji as keyboards show them: in which order, under which heading, and written out in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.corpus import CorpusError

DEBIAN_EMOJI_TEST = Path("/usr/share/unicode/emoji/emoji-test.txt")
DEBIAN_EMOJI_TEST_PACKAGE = "unicode-data"

_GROUP = "# group: "
_IN_FULL = ("fully-qualified", "component")
_SHOW_AS_PICTURE = "\N{VARIATION SELECTOR-16}"


@dataclass(frozen=True, slots=True)
class Key:
    """`characters` ask for the picture where the same character is also a letter or a sign."""

    characters: str
    category: str
    position: int


def read_keyboard(path: Path = DEBIAN_EMOJI_TEST) -> Mapping[str, Key]:
    """Unicode's emoji-test.txt, by the characters as CLDR writes them. Raises CorpusError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({error}): on Debian, apt-get install {DEBIAN_EMOJI_TEST_PACKAGE}; elsewhere name "
            f"Unicode's emoji-test.txt with --emoji-test"
        ) from error
    return {without_selectors(key.characters): key for key in _parse(lines)}


def without_selectors(characters: str) -> str:
    """As CLDR writes it."""
    return characters.replace(_SHOW_AS_PICTURE, "")


def _parse(lines: list[str]) -> Iterator[Key]:
    category = ""
    for position, line in enumerate(lines):
        if line.startswith(_GROUP):
            category = line.removeprefix(_GROUP)
        code_points, _, rest = line.partition(";")
        if rest.strip().startswith(_IN_FULL):
            yield Key("".join(chr(int(code, 16)) for code in code_points.split()), category, position)
