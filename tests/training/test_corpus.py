from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.corpus import CorpusError, Emoji, read_annotated
from training.dataset import Dataset, load_dataset
from training.rendering import _merge, load_font

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ldml><annotations>\n'
TAIL = "</annotations></ldml>\n"
ENGLISH = """
<annotation cp="{">brace</annotation><annotation cp="{" type="tts">open curly bracket</annotation>
<annotation cp="😿">cat | cry | crying cat | Sad!</annotation><annotation cp="😿" type="tts">crying cat</annotation>
<annotation cp="👍🏽">hand</annotation><annotation cp="👍🏽" type="tts">thumbs up: medium skin tone</annotation>
"""
BRITISH = """
<annotation cp="😿">moggy | ↑↑↑</annotation><annotation cp="😿" type="tts">weeping cat</annotation>
"""
INHERITED = '<annotation cp="😿">↑↑↑</annotation>'


@pytest.fixture
def cldr(tmp_path: Path) -> Path:
    for folder in ("annotations", "annotationsDerived"):
        (tmp_path / folder).mkdir()
        for locale in ("en", "en_001", "en_GB", "en_AU", "en_CA", "en_IN"):
            (tmp_path / folder / f"{locale}.xml").write_text(HEAD + INHERITED + TAIL)
    (tmp_path / "annotations" / "en.xml").write_text(HEAD + ENGLISH + TAIL)
    (tmp_path / "annotations" / "en_GB.xml").write_text(HEAD + BRITISH.replace(" | ↑↑↑", "") + TAIL)
    return tmp_path


def test_names_are_american_and_keywords_come_from_everywhere(cldr: Path) -> None:
    assert read_annotated(cldr) == [Emoji("😿", "crying cat", ("cat", "cry", "moggy", "sad"))]


def test_missing_data_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"annotations.en\.xml does not exist.*unicode-cldr-core"):
        read_annotated(tmp_path)
    with pytest.raises(CorpusError, match=r"NotoColorEmoji\.ttf cannot be read.*fonts-noto-color-emoji"):
        load_font(tmp_path / "NotoColorEmoji.ttf")


def test_emoji_with_the_same_picture_are_merged_under_the_shortest_name() -> None:
    alike = [Emoji("a", "flag: Bouvet Island", ("flag",)), Emoji("b", "flag: Norway", ("fjord", "flag"))]
    assert _merge(alike) == Emoji("b", "flag: Norway", ("fjord", "flag", "flag bouvet island"))


def test_a_data_set_survives_its_file(emoji_set: Dataset, tmp_path: Path) -> None:
    emoji_set.save(tmp_path / "dataset.npz")
    loaded = load_dataset(tmp_path / "dataset.npz")
    assert loaded.emoji == emoji_set.emoji
    assert np.array_equal(loaded.pictures, emoji_set.pictures)
