"""All parts of the benchmarks, in the order of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.database.index_build import measure_index_build
from benchmarks.database.old_snapshot import measure_old_snapshot
from benchmarks.database.outstanding import measure_outstanding
from benchmarks.database.queue_cycle import measure_queue_cycle
from benchmarks.database.recall import measure_recall
from benchmarks.database.single_inserts import measure_single_inserts
from benchmarks.database.storage import measure_storage
from benchmarks.database.triggers import measure_triggers
from benchmarks.database.writers import measure_writers
from benchmarks.decoding import measure_decoding
from benchmarks.figure import Figure
from benchmarks.ingest.ceiling import measure_ceiling
from benchmarks.ingest.devices import measure_devices
from benchmarks.ingest.lag import measure_lag
from benchmarks.ingest.live_changes import measure_live
from benchmarks.ingest.long_texts import measure_long_texts
from benchmarks.ingest.many_watches import measure_many_watches
from benchmarks.ingest.pgai_worker import measure_pgai
from benchmarks.ingest.pipeline import measure_pipeline
from benchmarks.ingest.ray_replicas import measure_ray
from benchmarks.ingest.sidecars import measure_sidecars
from benchmarks.ingest.takeover import measure_takeover
from benchmarks.part import Group, Part, Run
from benchmarks.serving.scale import DEMO, FULL
from benchmarks.serving.searches import measure_searches
from benchmarks.serving.serving import measure_overloaded, measure_serving, measure_with_model
from benchmarks.serving.sql_queries import measure_sql_queries


async def _measure_overload(run: Run) -> list[Figure]:
    minutes = run.minutes or (10 if run.full else 1)
    return await measure_overloaded(replace(FULL.overload, seconds=60 * minutes))


# A new part is one import and one line here.
PARTS: Sequence[Part] = (
    Part("triggers", Group.DATABASE, lambda run: measure_triggers(run.server, rows=100_000)),
    Part("writers", Group.DATABASE, lambda run: measure_writers(run.server, rounds=run.rounds, round_s=2)),
    Part("clients", Group.DATABASE, measure_single_inserts),
    Part("queue", Group.QUEUE, lambda run: measure_queue_cycle(run.server, rows=20_000)),
    Part("outstanding", Group.QUEUE, measure_outstanding),
    Part("snapshot", Group.QUEUE, lambda run: measure_old_snapshot(run.server, events=1_000_000)),
    Part("storage", Group.STORAGE, lambda run: measure_storage(run.server, rows=2_560, rounds=run.rounds)),
    Part("recall", Group.STORAGE, lambda run: measure_recall(run.server, 5_000, queries=1_000, rounds=run.rounds)),
    Part("lag", Group.LAG, lambda run: measure_lag(run.server, inserts=100)),
    Part("live", Group.LAG, lambda run: measure_live(run.server, inserts=50)),
    Part("takeover", Group.LAG, lambda run: measure_takeover(run.server, run.rounds if run.full else 1)),
    Part("watches", Group.LAG, lambda run: measure_many_watches(run.server, watches=300, inserts=60)),
    Part("index", Group.INGEST, measure_index_build),
    Part("sidecars", Group.INGEST, measure_sidecars),
    Part("ray", Group.INGEST, measure_ray),
    Part("devices", Group.INGEST, measure_devices),
    Part("ceiling", Group.CEILING, measure_ceiling),
    Part("pgai", Group.INGEST, measure_pgai, by_default=False),
    Part("pipeline", Group.INGEST, lambda run: measure_pipeline(run.server, rows=4_000, rounds=run.rounds)),
    Part("texts", Group.INGEST, lambda run: measure_long_texts(run.server, rounds=run.rounds, queries=200)),
    Part("pictures", Group.PICTURES, lambda run: measure_decoding(run.rounds)),
    Part("serving", Group.SERVING, lambda run: measure_serving(run.server, FULL)),
    Part("sql", Group.SERVING, lambda run: measure_sql_queries(run.server, run.rounds)),
    Part("search", Group.SERVING, lambda run: measure_searches(run.server, run.rounds)),
    Part("overload", Group.OVERLOAD, _measure_overload),
    Part("model", Group.MODEL, lambda run: measure_with_model(run.server, DEMO)),
)
