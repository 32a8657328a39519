"""The operations of all endpoints, composed from the parts of the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from sidecar.concurrency import in_daemon_thread
from sidecar.config import Settings
from sidecar.http.cohere.endpoints import CohereEndpoints
from sidecar.http.console.endpoints import ConsolePage
from sidecar.http.doctor.endpoints import DoctorAnswer, DoctorEndpoint, Examine
from sidecar.http.embed.contents import ContentEmbedder
from sidecar.http.embed.endpoints import EmbeddingEndpoints
from sidecar.http.events.endpoints import EventsEndpoint
from sidecar.http.events.feed import EventFeed
from sidecar.http.failures.endpoints import FailuresEndpoints
from sidecar.http.health import NO_DATABASE, HealthEndpoints, MetricsEndpoint, StatusAnswer, WatchesReading
from sidecar.http.images.fetcher import FetchLimits, ImageFetcher
from sidecar.http.images.loader import ImageLoader
from sidecar.http.images.name_resolution import NameResolver
from sidecar.http.key_ring import KeyRing
from sidecar.http.limits import RequestLimits
from sidecar.http.map.endpoints import MapEndpoint
from sidecar.http.openai.endpoints import OpenaiEndpoints
from sidecar.http.openai.infinity import InfinityEndpoints
from sidecar.http.operation import Operation
from sidecar.http.planning.endpoints import PlanningEndpoints
from sidecar.http.rerank.endpoints import RerankEndpoints
from sidecar.http.search.endpoints import SearchEndpoint
from sidecar.http.tei.endpoints import TeiEndpoints
from sidecar.http.thumbnails.endpoints import ThumbnailEndpoints
from sidecar.http.watches.control import ControlEndpoints
from sidecar.http.watches.endpoints import WatchesEndpoint
from sidecar.operations.checkup import examine
from sidecar.operations.findings import Limits
from sidecar.planner import make_planner
from sidecar.postgres.database import Database
from sidecar.postgres.reads import Reads
from sidecar.postgres.watch_reader import WatchReader
from sidecar.readiness import Readiness
from sidecar.redaction import redact
from sidecar.running_parts import READ_WATCHES_S, RunningParts
from sidecar.telemetry.history import Backlog, History
from sidecar.telemetry.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class EndpointParts:
    """What endpoints need of the process. `database`, `reads`: None without a database."""

    settings: Settings
    limits: RequestLimits
    readiness: Readiness
    running: RunningParts
    telemetry: Telemetry
    health: HealthEndpoints
    feed: EventFeed
    keys: KeyRing
    database: Database | None
    reads: Reads | None
    refresh_gauges: Callable[[], Awaitable[None]]


def make_operations(parts: EndpointParts) -> list[Operation]:
    """The operations of all endpoints but those of the documentation."""
    images = _image_loader(parts.settings)
    console = ConsolePage() if parts.settings.serves_console else None
    return [
        *_model_operations(parts, images, console),
        *_operator_operations(parts),
        *_database_operations(parts, images),
        *(console.operations() if console else ()),
    ]


def _model_operations(parts: EndpointParts, images: ImageLoader, console: ConsolePage | None) -> list[Operation]:
    """Vectors and scores of what the caller sends."""
    settings, get_models, limits = parts.settings, parts.running.get_models, parts.limits
    embedder = ContentEmbedder(get_models, limits, images)
    aliases = settings.aliases_of(settings.vision_model_id)
    openai = OpenaiEndpoints(embedder, aliases)
    return [
        *EmbeddingEndpoints(get_models, limits).operations(),
        *openai.operations(),
        *InfinityEndpoints(get_models, openai).operations(),
        *CohereEndpoints(embedder, aliases).operations(),
        *TeiEndpoints(embedder, parts.readiness, console.page if console else None).operations(),
        *RerankEndpoints(get_models, limits, images, settings.aliases_of(settings.rerank_model_id)).operations(),
    ]


def _operator_operations(parts: EndpointParts) -> list[Operation]:
    """The state of the process."""
    return [
        *parts.health.operations(),
        *MetricsEndpoint(parts.telemetry.metrics, parts.refresh_gauges).operations(),
        *EventsEndpoint(parts.feed, parts.keys.still_has).operations(),
        *DoctorEndpoint(_examination(parts.settings)).operations(),
    ]


def _database_operations(parts: EndpointParts, images: ImageLoader) -> list[Operation]:
    """The watched tables."""
    running, reads = parts.running, parts.reads
    return [
        *WatchesEndpoint(reads, lambda: running.model).operations(),
        *ControlEndpoints(parts.limits, parts.database).operations(),
        *FailuresEndpoints(parts.limits, parts.database).operations(),
        *ThumbnailEndpoints(running.get_decoders, parts.limits, reads, parts.telemetry).operations(),
        *PlanningEndpoints(parts.limits, make_planner(parts.settings, running)).operations(),
        *SearchEndpoint(running.get_models, parts.limits, images, reads, parts.telemetry).operations(),
        *MapEndpoint(reads, parts.limits).operations(),
    ]


def make_event_feed(history: History, health: HealthEndpoints, watch_reader: WatchReader | None) -> EventFeed:
    """The feed of /events, which reads the watches at the rate of `watch_reader`; None: there is no database."""
    if watch_reader is None:
        return EventFeed(history, _do_nothing, dict, lambda: health.report(NO_DATABASE))

    def backlogs() -> dict[str, Backlog] | None:
        latest = watch_reader.latest
        return None if latest is None else {each.name: Backlog(each.pending, each.failed) for each in latest}

    def report() -> StatusAnswer:
        latest, trouble = watch_reader.latest, watch_reader.trouble
        state: Literal["ok", "unavailable"] = "unavailable" if latest is None else "ok"
        return health.report(WatchesReading(state, trouble and redact(trouble), latest))

    return EventFeed(history, partial(watch_reader.refresh, READ_WATCHES_S), backlogs, report)


async def _do_nothing() -> None:
    pass


def _examination(settings: Settings) -> Examine | None:
    """What `/doctor` runs: the checks of the command, with its limits, as the service's own role."""
    url = settings.database_url
    if url is None:
        return None
    work = partial(examine, url, settings.listen_database_url or url, Limits())

    async def run() -> DoctorAnswer:
        return DoctorAnswer.model_validate(asdict(await in_daemon_thread("doctor", work)))

    return run


def _image_loader(settings: Settings) -> ImageLoader:
    limits = FetchLimits(settings.allow_image_urls, settings.max_image_bytes, settings.image_url_timeout_s)
    return ImageLoader(settings.max_image_bytes, ImageFetcher(limits, NameResolver()))
