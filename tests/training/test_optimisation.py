from __future__ import annotations

import math

import pytest
import torch

from training.batches import rate_captions
from training.optimisation import sigmoid_loss
from training.phrases import IGNORED, NEGATIVE, PARTLY, TRUE


def naive_loss(logits: torch.Tensor, truth: torch.Tensor) -> float:
    total = 0.0
    for row, levels in zip(logits.tolist(), truth.tolist(), strict=True):
        for logit, level in zip(row, levels, strict=True):
            match = -math.log(1 / (1 + math.exp(-logit)))
            no_match = -math.log(1 / (1 + math.exp(logit)))
            if level == TRUE:
                total += match / levels.count(TRUE)
            elif level == PARTLY:
                total += (match + no_match) / 2 / levels.count(PARTLY)
            elif level == NEGATIVE:
                total += no_match
    return total / logits.shape[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_of_a_naive_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn((9, 6), generator=generator)
    truth = torch.randint(0, 4, (9, 6), generator=generator, dtype=torch.uint8)
    assert sigmoid_loss(logits, truth).item() == pytest.approx(naive_loss(logits, truth), rel=1e-5)


def test_a_false_negative_that_is_ignored_has_no_gradient() -> None:
    logits = torch.zeros((2, 2), requires_grad=True)
    truth = torch.tensor([[TRUE, IGNORED], [NEGATIVE, TRUE]], dtype=torch.uint8)
    sigmoid_loss(logits, truth).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("seed", range(5))
def test_captions_are_rated_as_by_a_naive_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    emoji, nothing = 7, -1
    truth = torch.randint(0, 4, (10, emoji + 1), generator=generator, dtype=torch.uint8)
    truth[0], truth[1:, nothing] = TRUE, NEGATIVE
    phrases = torch.randint(0, 10, (12, 4), generator=generator)
    shown = torch.randint(-1, emoji, (5, 4), generator=generator)
    shown[:, 0] = shown[:, 0].clamp(min=0)
    judged = rate_captions(phrases, shown, truth)
    for caption in range(12):
        for picture in range(5):
            parts = [phrases[caption, :2].tolist(), phrases[caption, 2:].tolist()]
            expected = min(
                max(min(int(truth[phrase, one]) for phrase in part) for one in shown[picture].tolist())
                for part in parts
            )
            assert judged[caption, picture] == expected
