from __future__ import annotations

from pathlib import Path

import numpy as np

from sidecar.model.open_clip_encoder import OpenClipEncoder
from sidecar.model.probes import draw_probe_views
from tests.model.variants import WEIGHTS_NAME, load_on_cpu
from tests.tiny_models.open_clip_model import make_tiny_model

CAPTIONS = ["a photo of a cat", "a photo of a dog", "red leather shoes", "a rocket lifts off at night", "tomato soup"]


def test_the_same_seed_gives_the_same_files(tiny_model: Path, tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "again", seed=0)
    for name in (WEIGHTS_NAME, "tokenizer.json", "tokenizer_config.json", "open_clip_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny_model / name).read_bytes(), name
    assert load_on_cpu(tmp_path / "again").fingerprint == load_on_cpu(tiny_model).fingerprint


def test_another_seed_gives_another_vector_space(tiny_encoder: OpenClipEncoder, tmp_path: Path) -> None:
    make_tiny_model(tmp_path, seed=1)
    other = load_on_cpu(tmp_path)
    assert other.fingerprint != tiny_encoder.fingerprint
    views = draw_probe_views(160)
    assert np.sum(other.encode_views(views) * tiny_encoder.encode_views(views), axis=1).max() < 0.5


def test_different_texts_and_pictures_give_clearly_different_vectors(tiny_encoder: OpenClipEncoder) -> None:
    texts = tiny_encoder.encode_texts(tiny_encoder.prepare_texts(CAPTIONS))
    views = tiny_encoder.encode_views(np.concatenate([draw_probe_views(160), 255 - draw_probe_views(160)]))
    for vectors in (texts, views):
        assert vectors.shape == (len(vectors), 1152)
        cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
        assert cosines.max() < 0.95
        assert cosines.mean() < 0.8


def test_everyday_words_are_one_token_each(tiny_encoder: OpenClipEncoder) -> None:
    (prepared,) = tiny_encoder.prepare_texts(["A photo of two cats, sleeping on a red sofa!"])
    assert np.count_nonzero(prepared.token_ids != 1) == 11  # ten words, and the s of cats
    unknown = 2
    (letters,) = tiny_encoder.prepare_texts(["xylophone qwertz 4711"])
    assert unknown not in letters.token_ids
