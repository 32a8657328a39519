"""The section on reranking of docs/rest.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sidecar.http.rerank.bodies import DocumentObject, RerankBody
from tests.integration.http.conftest import Serving
from tests.integration.http.rerank.tiny_reranker import TinyReranker

PAGE = (Path(__file__).parents[4] / "docs" / "rest.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Rerank\n")[2].partition("\n## ")[0]
JSON_BLOCK = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def test_the_example_gets_the_documented_response(serving: Serving, reranker: TinyReranker) -> None:
    body, shown = (json.loads(block) for block in JSON_BLOCK.findall(SECTION))
    async with serving(**reranker.settings) as client:
        answer = (await client.post("/v2/rerank", json=body)).json()
    assert shape(answer) == shape(shown)
    assert len(answer["results"]) == len(shown["results"])
    assert {key: answer[key] for key in ("score_kind",)} == {key: shown[key] for key in ("score_kind",)}


def shape(value: Any) -> Any:
    """`value` with the names of types in place of values."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def test_every_field_of_a_body_is_documented() -> None:
    fields = {*RerankBody.model_fields, *DocumentObject.model_fields}
    assert [field for field in sorted(fields) if field not in SECTION] == []
