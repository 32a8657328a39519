"""English names and keywords of emoji, from Unicode's CLDR."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from open_clip.tokenizer import get_clean_fn

DEBIAN_CLDR = Path("/usr/share/unicode/cldr/common")
DEBIAN_CLDR_PACKAGE = "unicode-cldr-core"

# An emoji's name comes from the first locale that has one, its keywords from all.
_LOCALES = ("en", "en_001", "en_GB", "en_AU", "en_CA", "en_IN")
_AS_IN_PARENT = "↑↑↑"
_SKIN_TONES = frozenset(chr(code) for code in range(0x1F3FB, 0x1F400))
_FIRST_EMOJI = "©"

canonicalise = get_clean_fn("canonicalize")
"""The cleaning that the model's tokenizer applies: lower case, no punctuation, single spaces."""


class CorpusError(Exception):
    """Source data is not installed; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Emoji:
    """`name` as CLDR writes it; `keywords` canonical, sorted, without the name, which CLDR lists among them."""

    characters: str
    name: str
    keywords: tuple[str, ...]

    @property
    def canonical_name(self) -> str:
        return str(canonicalise(self.name))

    @property
    def words(self) -> frozenset[str]:
        """All words of the name and the keywords."""
        return frozenset(" ".join((self.canonical_name, *self.keywords)).split())


def read_annotated(cldr: Path = DEBIAN_CLDR) -> list[Emoji]:
    """All character sequences named by CLDR, in its order, without skin-tone variants. Raises CorpusError."""
    names: dict[str, str] = {}
    keywords: defaultdict[str, set[str]] = defaultdict(set)
    for locale in _LOCALES:
        for folder in ("annotations", "annotationsDerived"):
            for characters, kind, text in _read_annotations(cldr / folder / f"{locale}.xml"):
                if kind == "tts":
                    names.setdefault(characters, text)
                else:
                    keywords[characters].update(text.split("|"))
    return [_make_emoji(characters, name, keywords[characters]) for characters, name in names.items()]


def _read_annotations(path: Path) -> list[tuple[str, str, str]]:
    """(characters, type, text) of each annotation; the type of names is `tts`."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 (a file of the system's own)
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path} does not exist: on Debian, apt-get install {DEBIAN_CLDR_PACKAGE}; elsewhere unpack CLDR's "
            f"core.zip and name its folder 'common' with --cldr"
        ) from error
    found = [
        (node.get("cp", ""), node.get("type", ""), node.text or "") for node in root.iterfind("annotations/annotation")
    ]
    return [item for item in found if item[2] != _AS_IN_PARENT and _may_be_emoji(item[0])]


def _may_be_emoji(characters: str) -> bool:
    has_tone = not _SKIN_TONES.isdisjoint(characters)
    return not has_tone and (len(characters) > 1 or characters >= _FIRST_EMOJI)


def _make_emoji(characters: str, name: str, keywords: set[str]) -> Emoji:
    canonical = {str(canonicalise(keyword)) for keyword in keywords}
    return Emoji(characters, name, tuple(sorted(canonical - {str(canonicalise(name)), ""})))
