"""A cross-encoder's scores equal those of sentence-transformers, in any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from sidecar.batching.encoder import PairScorer
from sidecar.config import Settings
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory, ModelError, TextRejected
from sidecar.model.device import ComputeDevice
from sidecar.model.precision import Precision
from sidecar.model.reranker.cross_encoder import CrossEncoderScorer, group_by_length
from sidecar.model.reranker.loading import load_cross_encoder_on
from sidecar.model.reranker.selftest import run_pair_self_test
from tests.tiny_models.cross_encoder import MAX_TOKENS, make_tiny_cross_encoder

QUERY = "where is the red bicycle"
DOCUMENTS = [
    "a red bicycle",
    "a blue mug at the beach, with a small dog on it",
    "where is the lighthouse? " * 3,
    "x",
    "a large city has many people living in it, " * 20,
    "the dog and the cat of the old museum " * 4,
    "?",
]


def load(folder: Path, precision: Precision = "fp32", rerank_max_tokens: int = 512) -> CrossEncoderScorer:
    settings = Settings(rerank_model_id=f"local-dir:{folder}", rerank_max_tokens=rerank_max_tokens)
    return load_cross_encoder_on(ComputeDevice(torch.device("cpu"), precision), settings)


def predict(folder: Path, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
    """Scores of sentence-transformers, one pair at a time."""
    model = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    pairs = [(query, document) for document in documents]
    options = {"activation_fn": torch.nn.Identity(), "batch_size": 1, "show_progress_bar": False}
    return np.asarray(model.predict(pairs, **options), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="module")
def scorer(folder: Path) -> CrossEncoderScorer:
    return load(folder)


def test_scores_are_those_of_sentence_transformers(folder: Path, scorer: CrossEncoderScorer) -> None:
    typed: PairScorer = scorer
    scores = typed.score_pairs(typed.prepare_pairs(QUERY, DOCUMENTS))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, predict(folder, QUERY, DOCUMENTS), atol=1e-5)
    assert np.ptp(scores) > 0.5  # otherwise equality would prove little


def test_a_model_without_segments_scores_as_sentence_transformers_do(folder: Path, tmp_path: Path) -> None:
    plain = make_tiny_cross_encoder(tmp_path, seed=1, reads_segments=False)
    scorer = load(plain)
    scores = scorer.score_pairs(scorer.prepare_pairs(QUERY, DOCUMENTS))
    np.testing.assert_allclose(scores, predict(plain, QUERY, DOCUMENTS), atol=1e-5)


def test_a_models_prompt_is_prepended_to_the_query(tmp_path: Path) -> None:
    model = CrossEncoder(str(make_tiny_cross_encoder(tmp_path / "plain")), device="cpu", local_files_only=True)
    model.prompts, model.default_prompt_name = {"query": "people of the city: "}, "query"
    model.save_pretrained(str(tmp_path / "prompted"))
    scorer = load(tmp_path / "prompted")
    scores = scorer.score_pairs(scorer.prepare_pairs(QUERY, DOCUMENTS))
    np.testing.assert_allclose(scores, predict(tmp_path / "prompted", QUERY, DOCUMENTS), atol=1e-5)
    assert np.abs(scores - predict(tmp_path / "plain", QUERY, DOCUMENTS)).max() > 1e-2


def test_a_score_does_not_depend_on_its_batch(scorer: CrossEncoderScorer) -> None:
    pairs = scorer.prepare_pairs(QUERY, DOCUMENTS)
    together = scorer.score_pairs(pairs)
    alone = np.concatenate([scorer.score_pairs([pair]) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(scorer.score_pairs(pairs[::-1]), together[::-1], atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.01)])
def test_other_precisions_give_the_scores_of_fp32_up_to_rounding(
    folder: Path, scorer: CrossEncoderScorer, precision: Precision, tolerance: float
) -> None:
    rounded = load(folder, precision)
    pairs = scorer.prepare_pairs(QUERY, DOCUMENTS)
    difference = np.abs(rounded.score_pairs(pairs) - scorer.score_pairs(pairs)).max()
    assert 1e-5 < difference < tolerance


def test_only_the_document_is_truncated_and_reported_as_such(scorer: CrossEncoderScorer) -> None:
    query = "red " * 40
    short, long = scorer.prepare_pairs(query, ["a dog", "a dog " * 40])
    assert (short.truncated, long.truncated) == (False, True)
    assert len(long.token_ids) == len(long.segment_ids) == MAX_TOKENS
    assert int((long.segment_ids == 0).sum()) == 1 + 40 + 1
    np.testing.assert_array_equal(long.token_ids[:44], short.token_ids[:44])


def test_both_rerank_max_tokens_and_the_models_own_limit_apply(folder: Path) -> None:
    (pair,) = load(folder, rerank_max_tokens=20).prepare_pairs("red", ["a dog " * 40])
    assert len(pair.token_ids) == 20
    assert pair.truncated


def test_a_request_may_limit_the_tokens_of_each_document(scorer: CrossEncoderScorer) -> None:
    cut, whole = scorer.prepare_pairs("red", ["a dog on the beach", "a dog"], max_document_tokens=2)
    np.testing.assert_array_equal(cut.token_ids, whole.token_ids)
    assert (cut.truncated, whole.truncated) == (True, False)


def test_a_query_that_leaves_no_room_is_refused(scorer: CrossEncoderScorer) -> None:
    fits = "red " * (MAX_TOKENS - 4)
    (pair,) = scorer.prepare_pairs(fits, ["a dog"])
    assert len(pair.token_ids) == MAX_TOKENS
    with pytest.raises(TextRejected, match="reads 64 of both together") as caught:
        scorer.prepare_pairs(fits + "red", ["a dog"])
    assert (caught.value.code, caught.value.param) == ("query_too_long", "query")


def test_no_pairs_give_no_scores(scorer: CrossEncoderScorer) -> None:
    assert scorer.prepare_pairs(QUERY, []) == []
    assert scorer.score_pairs([]).shape == (0,)


def test_pairs_are_prepared_by_any_thread(scorer: CrossEncoderScorer) -> None:
    expected = scorer.prepare_pairs(QUERY, DOCUMENTS)
    with ThreadPoolExecutor(8) as threads:
        for prepared in threads.map(lambda _: scorer.prepare_pairs(QUERY, DOCUMENTS), range(64)):
            for pair, other in zip(prepared, expected, strict=True):
                np.testing.assert_array_equal(pair.token_ids, other.token_ids)


def test_less_than_half_of_a_group_is_padding() -> None:
    lengths = [512, 3, 16, 17, 33, 8, 511, 40, 100, 3]
    groups = group_by_length(lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert max(lengths[index] for index in group) <= 2 * min(lengths[index] for index in group)
    assert len(group_by_length(range(16, 513))) == 5


def test_a_document_cannot_end_itself_and_begin_another(scorer: CrossEncoderScorer) -> None:
    separator = scorer._model.tokenizer.sep_token_id
    documents = ["a red bicycle", "a dog [SEP] a red bicycle", "a dog[SEP][CLS]a red bicycle [MASK] [PAD]"]
    for pairs in (scorer.prepare_pairs(QUERY, documents), scorer.prepare_pairs(f"{QUERY} [SEP] a dog", documents)):
        for pair in pairs:
            assert pair.token_ids.tolist().count(separator) == 2
            assert (pair.segment_ids == 0).sum() == pair.token_ids.tolist().index(separator) + 1
            assert not {scorer._model.tokenizer.mask_token_id, scorer._model.tokenizer.pad_token_id} & set(
                pair.token_ids.tolist()
            )


class FailingModel:
    """A model that fails while computing."""

    def __init__(self, model: CrossEncoder, fail: Callable[[], torch.Tensor]) -> None:
        self.tokenizer = model.tokenizer
        self._fail = fail

    def __call__(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"scores": self._fail()}


def failing(scorer: CrossEncoderScorer, fail: Callable[[], torch.Tensor]) -> CrossEncoderScorer:
    compute = ComputeDevice(torch.device("cpu"), "fp32")
    return CrossEncoderScorer(
        FailingModel(scorer._model, fail), scorer._tokenizer, "failing", compute, reads_segments=True
    )


def report_out_of_memory() -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def report_a_fault() -> torch.Tensor:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore about it")


def test_faults_of_the_device_are_distinguished(scorer: CrossEncoderScorer) -> None:
    pairs = scorer.prepare_pairs(QUERY, DOCUMENTS)
    with pytest.raises(DeviceOutOfMemory):
        failing(scorer, report_out_of_memory).score_pairs(pairs)
    with pytest.raises(DeviceError) as caught:
        failing(scorer, report_a_fault).score_pairs(pairs)
    assert not isinstance(caught.value, DeviceOutOfMemory)
    assert "\n" not in str(caught.value)


def report_a_bug() -> torch.Tensor:
    raise KeyError("a secret detail")


def test_a_bug_in_the_model_fails_its_pairs_and_not_the_device(
    scorer: CrossEncoderScorer, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = scorer.prepare_pairs(QUERY, DOCUMENTS)
    with pytest.raises(DeviceError, match=r"^The reranking model failed; the log has more\.$"):
        failing(scorer, report_a_bug).score_pairs(pairs)
    assert "a secret detail" in str([record.exc_info for record in caplog.records])


class UnmaskedScorer(CrossEncoderScorer):
    """Lets padding affect the score."""

    def _score(self, pairs):  # type: ignore[no-untyped-def]
        model = self._model
        self._model = lambda features: model({**features, "attention_mask": torch.ones_like(features["input_ids"])})
        try:
            return super()._score(pairs)
        finally:
            self._model = model


def test_the_self_test_finds_padding_that_leaks_into_the_score(scorer: CrossEncoderScorer) -> None:
    run_pair_self_test(scorer)
    compute = ComputeDevice(torch.device("cpu"), "fp32")
    leaking = UnmaskedScorer(scorer._model, scorer._tokenizer, "leaking", compute, reads_segments=True)
    with pytest.raises(ModelError, match="a pair alone and among others differs by"):
        run_pair_self_test(leaking)


def report_a_missing_kernel() -> torch.Tensor:
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


def report_a_sticky_fault() -> torch.Tensor:
    raise RuntimeError("CUDA error: device-side assert triggered")


def test_a_device_lost_during_the_self_test_is_reported_as_such(scorer: CrossEncoderScorer) -> None:
    """Not as a failure of the model: nothing can use that device in this process any more."""
    with pytest.raises(DeviceLost, match="device-side assert"):
        run_pair_self_test(failing(scorer, report_a_sticky_fault))


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (lambda: torch.full((1,), float("nan")), "not finite"),
        (lambda: torch.zeros(1), "same score"),
        (report_a_missing_kernel, "no kernel image"),
    ],
)
def test_the_self_test_refuses_a_model_without_finite_scores(
    scorer: CrossEncoderScorer, fail: Callable[[], torch.Tensor], message: str
) -> None:
    class OnePairAtATime(CrossEncoderScorer):
        def score_pairs(self, pairs):  # type: ignore[no-untyped-def]
            return np.concatenate([self._score([pair]) for pair in pairs])

    compute = ComputeDevice(torch.device("cpu"), "fp32")
    model = FailingModel(scorer._model, fail)
    with pytest.raises(ModelError, match=message):
        run_pair_self_test(OnePairAtATime(model, scorer._tokenizer, "failing", compute, reads_segments=True))
