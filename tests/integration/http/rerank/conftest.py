from __future__ import annotations

import pytest

from tests.integration.http.rerank.tiny_reranker import TinyReranker


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> TinyReranker:
    return TinyReranker(tmp_path_factory.mktemp("cross-encoder"))
