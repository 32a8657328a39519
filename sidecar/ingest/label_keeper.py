"""Embeds the labels of sidecar.set_labels: new ones, and all of a watch after a change of its model."""

from __future__ import annotations

import asyncio
import logging

from sidecar.batching.encoder import PairScale
from sidecar.batching.job import Lane
from sidecar.errors import DatabaseError, DeviceError, InputError
from sidecar.ingest.context import Context
from sidecar.postgres.statements import statement

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0


class LabelKeeper:
    """Looks for labels without a vector every INTERVAL_S. `scale` is that of the embedder's model.

    Two sidecars may embed the same label, to the same vector.
    """

    def __init__(self, context: Context, scale: PairScale | None) -> None:
        self._context = context
        self._scale = scale

    async def run(self) -> None:
        """Embeds until cancelled."""
        while True:
            try:
                await self.embed_all()
            except DatabaseError as error:
                self._context.database.report(error)
            except DeviceError as error:
                logger.info("labels have to wait: %s", error)
            await asyncio.sleep(INTERVAL_S)

    async def embed_all(self) -> None:
        """Embeds what has no vector of this model yet. Raises DatabaseError, DeviceError."""
        fingerprint = self._context.identity.fingerprint
        watches = [w.id for w in self._context.catalogue.writable()]
        if not watches:
            return
        async with self._context.database.connection() as connection:
            found = await connection.fetch(statement("find_labels"), watches, fingerprint)
        if not found:
            return
        results = await self._context.embedder.embed_texts([label["prompt"] for label in found], Lane.INGEST)
        scale, bias = (None, None) if self._scale is None else (self._scale.scale, self._scale.bias)
        async with self._context.database.connection() as connection:
            for label, result in zip(found, results, strict=True):
                failed = isinstance(result, InputError)
                vector = None if isinstance(result, InputError) else result.vector.tolist()
                error = result.message if isinstance(result, InputError) else None
                if failed:
                    logger.warning("label %r cannot be embedded: %s", label["label"], error)
                row = label["watch_id"], label["label"], label["prompt"], fingerprint, vector, scale, bias, error
                await connection.execute(statement("save_label"), *row)
