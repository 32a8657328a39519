"""The example in the section Search of docs/rest.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.integration.ingest.watched_table import user
from tests.integration.search.shop import searching
from tests.integration.sql.session import Connection, run
from tests.integration.word_encoder import WordEncoder

PAGE = (Path(__file__).parents[3] / "docs" / "rest.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## Search\n") : PAGE.index("## Errors\n")]
BLOCK = re.compile(r"^```(sql|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def test_the_example_gets_the_documented_answer(database_url: str, db: Connection) -> None:
    (_, script), (_, request), (_, expected), *_ = BLOCK.findall(SECTION)
    run(db, script)
    async with searching(database_url, WordEncoder(), ingest=True) as client, user(database_url) as reader:
        for row in (1, 2, 3):
            await reader.execute(
                "call sidecar.wait_embedded('products', %s::jsonb, timeout_ms => 20000)", (json.dumps({"id": row}),)
            )
        response = await client.post("/search", json=json.loads(request))
    assert response.status_code == 200, response.text
    assert outline(response.json()) == outline(json.loads(expected))


def outline(answer: dict[str, Any]) -> dict[str, Any]:
    """`answer` without what depends on the model and the machine, which must be present."""
    rest = {
        name: value
        for name, value in answer.items()
        if name not in {"model", "fingerprint", "took_ms", "stages_ms", "next"}
    }
    assert len(answer) == len(rest) + 5
    distances = [result.pop("distance") for result in rest["results"]]
    assert distances == sorted(distances)
    return rest
