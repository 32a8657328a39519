from __future__ import annotations

import json
from io import BytesIO

from PIL import Image

from sidecar.demo.example import example_pictures


def test_every_caption_has_its_picture_and_every_picture_its_caption_and_licence() -> None:
    folder = example_pictures()
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    pictures = {path.name for path in folder.iterdir() if path.name.endswith(".jpg")}
    licences = (folder / "LICENSES.md").read_text(encoding="utf-8")
    assert {row["file"] for row in captions} == pictures
    assert len(captions) == 12
    assert all(f"| `{name}` |" in licences for name in pictures)


def test_the_pictures_are_small_and_whole() -> None:
    sizes_bytes = []
    for path in example_pictures().iterdir():
        if path.name.endswith(".jpg"):
            content = path.read_bytes()
            sizes_bytes.append(len(content))
            with Image.open(BytesIO(content)) as picture:
                picture.load()
                assert max(picture.size) <= 320
    assert max(sizes_bytes) <= 40_000
    assert sum(sizes_bytes) <= 400_000
