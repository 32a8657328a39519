"""The planner of `GET /tables` and `POST /plan`, composed from the operations and the parts of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from sidecar.concurrency import in_daemon_thread
from sidecar.config import Settings
from sidecar.errors import DecoderUnavailable, PictureRejected
from sidecar.http.planning.bodies import PlanAnswer, PlanBody, TablesAnswer
from sidecar.http.planning.endpoints import Planner
from sidecar.operations.operations import WatchRequest
from sidecar.operations.planning.estimate import DEFAULT_CONTEXT_LENGTH
from sidecar.operations.planning.plan import DEFAULT_NATIVE_SIZE, Assumptions, Plan, make_plan
from sidecar.operations.planning.prospect import PreviewedRow, Prospect, find_prospect
from sidecar.operations.planning.tables import find_tables
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.views.settings import ViewSettings
from sidecar.readiness import NotReady
from sidecar.running_parts import RunningParts

Sizes = list[tuple[int, int] | None]


def make_planner(settings: Settings, running: RunningParts) -> Planner | None:
    """None without a database. Plans are for the model that is served, once it is known, else for the default one."""
    url = settings.database_url
    if url is None:
        return None

    async def plan(body: PlanBody) -> PlanAnswer:
        request = _request(body, running)
        found = await in_daemon_thread("plan", partial(find_prospect, url, request))
        measure = partial(_measure, running.get_decoders)
        heads = await measure(found.survey.sample.heads)
        shown = await measure([row.head or b"" for row in found.rows])
        context_length = _context_length(running)
        return _answer(found, _plan(found, request, heads, settings, context_length), request, shown)

    return Planner(partial(_find_tables, url), plan)


async def _find_tables(url: SecretStr, prefix: str, limit: int) -> TablesAnswer:
    found = await in_daemon_thread("tables", partial(find_tables, url, prefix, limit + 1))
    tables = [asdict(table) for table in found[:limit]]
    return TablesAnswer.model_validate({"tables": tables, "has_more": len(found) > limit})


def _request(body: PlanBody, running: RunningParts) -> WatchRequest:
    request = WatchRequest(
        *(body.table, body.source, body.target, body.kind, body.companion, body.index),
        expose=body.expose,
        storage=body.storage,
    )
    return request if running.model is None else replace(request, dimensions=running.model.dim)


async def _measure(get_decoders: Callable[[], DecoderPool], heads: list[bytes]) -> Sizes:
    """Sizes in pixels, read by the decoder processes; None of what has none, or until these have started."""
    try:
        decoders = get_decoders()
        return [await _measure_one(decoders, head) for head in heads]
    except (NotReady, DecoderUnavailable):
        return [None] * len(heads)


async def _measure_one(decoders: DecoderPool, head: bytes) -> tuple[int, int] | None:
    try:
        return await decoders.measure(head) if head else None
    except PictureRejected:
        return None


def _context_length(running: RunningParts) -> int:
    return DEFAULT_CONTEXT_LENGTH if running.models is None else running.models.embedder.context_length


def _plan(found: Prospect, request: WatchRequest, sizes: Sizes, settings: Settings, context_length: int) -> Plan:
    assumptions = Assumptions(
        settings.vision_model_id,
        request.dimensions,
        ViewSettings.from_settings(settings, DEFAULT_NATIVE_SIZE),
        request.companion is not None,
        context_length=context_length,
    )
    return make_plan(found.survey, [size for size in sizes if size is not None], found.server, assumptions)


def _answer(found: Prospect, plan: Plan, request: WatchRequest, shown: Sizes) -> PlanAnswer:
    facts = plan.facts()
    long_texts, texts = facts["sampled_long_texts"], sum(size is not None for size in found.survey.sample.sizes)
    memory = plan.memory
    facts |= {
        "owner": found.owner,
        "dimensions": request.dimensions,
        "context_length": plan.context_length,
        "long_text_share": None if long_texts is None else long_texts / max(texts, 1),
        "index_memory": None if memory is None else asdict(memory),
        "typical_devices": [asdict(device) for device in plan.devices],
        "refusal": None if found.survey.refusal is None else asdict(found.survey.refusal),
        "preview": [_row(row, size) for row, size in zip(found.rows, shown, strict=True)],
        "sql": found.statement,
    }
    return PlanAnswer.model_validate(facts)


def _row(row: PreviewedRow, size: tuple[int, int] | None) -> dict[str, Any]:
    width, height = size or (None, None)
    shown = {"key": row.key, "text": row.text, "bytes": row.size_bytes, "format": row.format}
    return {**shown, "width": width, "height": height}
