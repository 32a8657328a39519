"""schemathesis reads /openapi.json and sends valid and invalid requests to every endpoint of a real server."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.integration.http.live_server import live_server
from tests.integration.http.rerank.tiny_reranker import TinyReranker
from tests.integration.search.shop import connect, make_products

HERE = Path(__file__).parent
KEY = "a-key-for-everything"
PATIENCE_S = 400
SOME_PATHS = "^/(embed/text|search|rerank)$"


@pytest.mark.timeout(460)
@pytest.mark.parametrize(
    "extent",
    [
        (
            "--phases",
            "examples,coverage",
            "--max-examples",
            "1",
            "--include-path-regex",
            "^/(embed/text|search|rerank)$",
        ),
        pytest.param(("--phases", "examples,coverage,fuzzing", "--max-examples", "5"), marks=pytest.mark.long),
    ],
    ids=["three paths", "all"],
)
async def test_schemathesis_finds_nothing(database_url: str, tmp_path: Path, extent: tuple[str, ...]) -> None:
    with connect(database_url) as db:
        encoder = make_products(db)
    settings: dict[str, Any] = {**TinyReranker(tmp_path / "reranker").settings, "ingest": False}
    settings |= {"database_url": SecretStr(database_url), "api_keys": SecretStr(KEY)}
    async with live_server(encoder, **settings) as port:
        explorer = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--no-color",
                "--config-file",
                HERE / "schemathesis.toml",
                "run",
            ),
            *("--header", f"Authorization: Bearer {KEY}", *extent),
            *("--exclude-path", "/events"),  # an answer without an end
            *("--generation-deterministic", f"http://127.0.0.1:{port}/openapi.json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,  # schemathesis leaves a directory behind
            env={**os.environ, "PYTHONPATH": str(HERE.parents[3])},
        )
        output, _ = await asyncio.wait_for(explorer.communicate(), PATIENCE_S)
    report = output.decode()
    assert explorer.returncode == 0, report
    assert "Operations:       " in report, report
    assert "No issues found" in report, report
