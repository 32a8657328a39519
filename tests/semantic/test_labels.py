"""Labels of the demo's pictures, by its model, through a running sidecar."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sidecar.demo.emoji import read_emoji
from sidecar.model.open_clip_encoder import OpenClipEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.test_labels import LABELS, until_labelled
from tests.integration.ingest.watched_table import Connection, run, user
from tests.semantic.demo_model import DemoModel
from tests.waiting import wait_until_async


async def test_the_demos_model_labels_its_pictures(database_url: str, model: DemoModel) -> None:
    async with user(database_url) as db:
        await _check_labels(db, database_url, model.encoder)


async def _check_labels(db: Connection, database_url: str, encoder: OpenClipEncoder) -> None:
    named = {row.name: row.picture for row in read_emoji() if row.name in {"pizza", "red heart", "crying cat"}}
    names = sorted(named)
    await run(db, "create table items (id bigint primary key, photo bytea)")
    for number, name in enumerate(names):
        await run(db, "insert into items values (%s, %s)", number, named[name])
    await run(db, "select sidecar.watch('items', 'photo', index => 'none')")
    await run(db, "select sidecar.set_labels('items', %s::text[])", names)
    async with running_ingest(database_url, encoder, pictures=True):

        async def is_embedded() -> bool:
            return await run(db, "select embedded from sidecar.status") == [(3,)]

        await wait_until_async(is_embedded, "three vectors", timeout_s=60)
        await until_labelled(db)
    found = await run(db, LABELS)
    stored = await run(db, "select id, photo_embedding::real[] from items order by id")
    texts = encoder.encode_texts(encoder.prepare_texts(names))
    scale = encoder.pair_scale
    assert scale is not None
    for key, label, probability, cosine in found:
        by_hand = float(
            np.dot(np.array(stored[key][1], dtype=np.float64), texts[names.index(label)].astype(np.float64))
        )
        assert cosine == pytest.approx(by_hand, abs=1e-4)
        assert probability == pytest.approx(1 / (1 + np.exp(-(scale.scale * by_hand + scale.bias))), rel=0.02)
    for number, name in enumerate(names):
        best = max((row for row in found if row[0] == number), key=lambda row: row[2])
        assert best[1] == name, json.dumps(found)
