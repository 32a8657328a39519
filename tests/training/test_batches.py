from __future__ import annotations

import pytest
import torch
from open_clip.tokenizer import HFTokenizer

from tests.training.emoji_set import TINY_SHAPE
from training.batches import Batch, BatchSampler, find_flippable
from training.caption_bank import CaptionBank
from training.captions import CaptionWriter, write_captions
from training.compositing import Atlas
from training.corpus import Emoji
from training.dataset import Dataset
from training.degradation import degrade
from training.holdout import Holdout
from training.layout import Layout, LayoutSampler
from training.phrases import IGNORED, PARTLY, TRUE, Phrases

COUNT, SIDE = 40, 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def atlas(emoji_set: Dataset) -> Atlas:
    return Atlas(emoji_set.pictures, CPU)


@pytest.fixture(scope="module")
def bank(emoji_set: Dataset, holdout: Holdout, phrases: Phrases, tokenizer: HFTokenizer) -> CaptionBank:
    trained = [index for index in range(len(emoji_set.emoji)) if index not in holdout.emoji]
    captions = write_captions(CaptionWriter(phrases, holdout, 0), trained, 8)
    return CaptionBank(dict(zip(trained, captions, strict=True)), len(emoji_set.emoji), tokenizer)


@pytest.fixture(scope="module")
def artist(emoji_set: Dataset, atlas: Atlas, bank: CaptionBank, phrases: Phrases) -> BatchSampler:
    return BatchSampler(atlas, bank, torch.from_numpy(phrases.truth), find_flippable(emoji_set.emoji))


def draw(artist: BatchSampler, seed: int, trained: list[int]) -> Batch:
    return artist.draw(torch.tensor(trained), COUNT, SIDE, torch.Generator().manual_seed(seed))


def one_object(centre: tuple[float, float], extent: tuple[float, float], flipped: bool = False) -> Layout:
    return Layout(
        emoji=torch.zeros((1, 1), dtype=torch.int64),
        centre=torch.tensor([[centre]]),
        extent=torch.tensor([[extent]]),
        angle=torch.zeros((1, 1)),
        flipped=torch.tensor([[flipped]]),
        singles=1,
    )


def test_a_batch_has_the_documented_shapes_and_ranges(artist: BatchSampler) -> None:
    batch = draw(artist, 0, list(range(20)))
    assert (batch.pixels.shape, batch.pixels.dtype) == ((COUNT, 3, SIDE, SIDE), torch.float32)
    assert batch.pixels.min() >= -1
    assert batch.pixels.max() <= 1
    assert batch.tokens.shape == (2 * COUNT, TINY_SHAPE.context_length)
    assert (batch.truth.shape, batch.truth.dtype) == ((2 * COUNT, COUNT), torch.uint8)


def test_the_same_seed_draws_the_same_batch_and_another_seed_another(artist: BatchSampler) -> None:
    one, again, other = (draw(artist, seed, list(range(20))) for seed in (1, 1, 2))
    assert all(torch.equal(getattr(one, name), getattr(again, name)) for name in ("pixels", "tokens", "truth"))
    assert not torch.equal(one.pixels, other.pixels)
    assert not torch.equal(one.tokens, other.tokens)


def test_every_caption_is_true_of_its_own_picture(artist: BatchSampler) -> None:
    batch = draw(artist, 3, list(range(20)))
    own = torch.cat([batch.truth[:COUNT].diagonal(), batch.truth[COUNT:].diagonal()])
    assert set(own.tolist()) <= {PARTLY, TRUE}
    assert IGNORED not in own


def test_joined_captions_have_the_tokens_of_the_joined_text(bank: CaptionBank, tokenizer: HFTokenizer) -> None:
    first, second = torch.tensor([0] * 30), torch.tensor([5] * 15 + [-1] * 15)
    batch = bank.draw(first, second, torch.Generator().manual_seed(0))
    texts = tokenizer.tokenizer.batch_decode(batch.tokens, skip_special_tokens=True)
    uncut = [index for index in range(30) if batch.tokens[index, -2] == 1]
    assert len(uncut) > 20
    assert any(" and " in texts[index] for index in uncut)
    assert torch.equal(tokenizer(texts)[uncut], batch.tokens[uncut])
    assert (batch.phrases[15:, 2:] == 0).all()


def test_an_object_is_drawn_at_the_position_of_its_layout_at_every_size(atlas: Atlas) -> None:
    for size in (0.9, 0.4, 0.2):
        canvas = atlas.paste(torch.ones((1, 3, 128, 128)), one_object((0.5, 0.5), (size, size)))
        drawn = (canvas[0] < 0.5).any(dim=0).nonzero().float()
        assert drawn.mean(dim=0).tolist() == pytest.approx([63.5, 63.5], abs=2)
        height = drawn[:, 0].max() - drawn[:, 0].min()
        assert height / 128 == pytest.approx(size * 108 / 136, abs=0.03)


def test_an_object_can_be_squashed_mirrored_and_partly_outside(emoji_set: Dataset, atlas: Atlas) -> None:
    narrow = atlas.paste(torch.ones((1, 3, 64, 64)), one_object((0.25, 0.5), (0.25, 1.0)))
    columns = (narrow[0] < 0.5).any(dim=0).any(dim=0).nonzero().flatten()
    assert columns.min() >= 8
    assert columns.max() < 24
    lopsided = emoji_set.pictures[:1].copy()
    lopsided[:, :, :68] = 0
    atlas = Atlas(lopsided, CPU)
    plain, mirrored = (
        atlas.paste(torch.ones((1, 3, 64, 64)), one_object((0.5, 0.5), (1.0, 1.0), flipped))[0, 1] < 0.5
        for flipped in (False, True)
    )
    assert not plain[:, :32].any()
    assert mirrored[:, :32].any()
    assert not mirrored[:, 33:].any()


def test_objects_that_are_not_shown_are_not_drawn(atlas: Atlas) -> None:
    layout = one_object((0.5, 0.5), (1.0, 1.0))
    hidden = Layout(layout.emoji - 1, layout.centre, layout.extent, layout.angle, layout.flipped, 1)
    assert (atlas.paste(torch.ones((1, 3, 32, 32)), hidden) == 1).all()


def test_objects_of_a_layout_are_visible(emoji_set: Dataset) -> None:
    emoji = torch.randint(0, 32, (500, 4), generator=torch.Generator().manual_seed(0))
    flippable = torch.zeros(32, dtype=torch.bool)
    layout = LayoutSampler(torch.Generator().manual_seed(0)).draw(emoji, flippable)
    assert (layout.emoji[:, 0] >= 0).all()
    assert (layout.emoji[: layout.singles, 1:] == -1).all()
    assert (layout.emoji[layout.singles :] >= 0).sum(dim=1).float().mean() > 1.5
    assert not layout.flipped.any()
    assert (layout.extent > 0.03).all()


def test_emoji_with_a_direction_are_not_mirrored() -> None:
    corpus = [Emoji("1", "cat face", ("pet",)), Emoji("2", "right arrow", ("east",)), Emoji("3", "x", ("flag",))]
    assert find_flippable(corpus).tolist() == [True, False, False]


def test_degradation_changes_pictures_but_not_beyond_recognition() -> None:
    pictures = torch.rand((200, 3, 1, 1), generator=torch.Generator().manual_seed(0)).expand(-1, -1, 32, 32)
    degraded = degrade(pictures, torch.Generator().manual_seed(0))
    assert degraded.shape == pictures.shape
    assert 0.01 < (degraded - pictures).abs().mean() < 0.1
    assert degraded.min() >= 0
    assert degraded.max() <= 1
