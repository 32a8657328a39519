"""Bounds on the number of values in a JSON body."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sidecar.errors import InputError
from sidecar.http.bodies.json_body import check_separators, check_value_count
from sidecar.http.limits import RequestLimits

LIMITS = RequestLimits(
    max_body_bytes=64 << 20,
    max_uploads_bytes=512 << 20,
    max_batch_texts=256,
    max_text_chars=100_000,
    max_image_bytes=32 << 20,
    max_batch_images=32,
    max_rerank_documents=1000,
    max_search_rows=1000,
    timeout_s=60.0,
)


@pytest.mark.parametrize(("item", "most"), [(b"[]", 199_999), (b"{}", 199_999), (b"0", 1_000_001), (b'""', 1_000_001)])
def test_too_many_values_are_rejected_before_parsing(item: bytes, most: int) -> None:
    check_separators(b"[" + b",".join([item] * most) + b"]")
    with pytest.raises(InputError) as caught:
        check_separators(b"[" + b",".join([item] * (most + 1)) + b"]")
    assert caught.value.code == "too_many_values"


def test_the_longest_texts_pass_with_all_their_commas() -> None:
    sentence = "A lighthouse, which stands on a cliff above the sea, guides the ships home at night. "
    texts = [(sentence * 1200)[:100_000]] * 256
    body = orjson.dumps({"texts": texts})
    check_separators(body)
    check_value_count(orjson.loads(body), LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        {"documents": [{"text": "a"}] * 10_001},
        {"filter": {str(number): 1 for number in range(20_001)}},
        {"filter": {"a": [0] * 11_000, "b": [0] * 11_000}},
        [[[0] * 20_001]],
    ],
)
def test_too_many_values_are_rejected_before_validation(body: Any) -> None:
    with pytest.raises(InputError) as caught:
        check_value_count(body, LIMITS)
    assert caught.value.code == "too_many_values"


def test_the_longest_vector_and_all_documents_pass() -> None:
    check_value_count({"vector": [0.0] * 16_000}, LIMITS)
    check_value_count({"documents": [{"text": "a", "title": "b"}] * 1000}, LIMITS)
    check_value_count("a text alone", LIMITS)


@pytest.mark.parametrize("text", ["[{" * 150_000, '\\"[{' * 150_000, '\\\\"[' * 90_000 + "{" * 210_000])
def test_separators_inside_strings_do_not_count_and_those_after_them_do(text: str) -> None:
    check_separators(orjson.dumps({"texts": [text, "a"]}))
    with pytest.raises(InputError) as caught:
        check_separators(orjson.dumps({"texts": [text]}) + b"[{}," * 150_000)
    assert caught.value.code == "too_many_values"
