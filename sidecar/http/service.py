"""What the endpoints need of the process behind them; `sidecar.app` provides it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import PairScale
from sidecar.batching.lane_queue import LaneDepth
from sidecar.batching.reranker import Reranker
from sidecar.errors import SidecarError
from sidecar.http.access import Access
from sidecar.http.images.sources import ImageSources
from sidecar.postgres.database import Database
from sidecar.postgres.status import WatchStatus
from sidecar.telemetry.objectives import Objectives
from sidecar.telemetry.telemetry import Telemetry


class NotReady(SidecarError):
    """Queries cannot be embedded: `model_loading`, `model_failed`, `device_failed`, `failed`, `stopping`."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may ask for."""

    max_body_bytes: int
    max_uploads_bytes: int
    max_batch_texts: int
    max_text_chars: int
    max_image_bytes: int
    max_batch_images: int
    max_rerank_documents: int
    max_search_rows: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model behind the answers. `fingerprint` names the vector space."""

    id: str
    fingerprint: str
    dim: int


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers a query: the way to a vector, and the model that makes it.

    `pair_scale` turns the cosine of a text and a picture into the probability that they belong together. Where
    `uses_tta`, a picture's vector is the mean of several views, for which that was not trained. `reranker` is None with
    RERANK=off.
    """

    embedder: Embedder
    model: ServedModel
    pair_scale: PairScale | None = None
    uses_tta: bool = False
    reranker: Reranker | None = None


# What sidecar.status says, a dataclass for each watch. Raises DatabaseError, which /status reports.
ReadWatches: TypeAlias = Callable[[], Awaitable[Sequence[WatchStatus]]]


class Service(Protocol):
    @property
    def limits(self) -> RequestLimits: ...

    @property
    def access(self) -> Access: ...

    @property
    def root_path(self) -> str:
        """What a proxy puts before our paths; "" for nothing."""
        ...

    @property
    def cors_origins(self) -> Sequence[str]:
        """Sites whose pages may use the service from a browser; `*` for all."""
        ...

    @property
    def model_aliases(self) -> Sequence[str]:
        """Other names of the model that embeds."""
        ...

    @property
    def rerank_aliases(self) -> Sequence[str]:
        """Other names of the model that reranks."""
        ...

    @property
    def telemetry(self) -> Telemetry: ...

    @property
    def objectives(self) -> Objectives: ...

    @property
    def images(self) -> ImageSources:
        """Where the pictures of JSON requests come from."""
        ...

    @property
    def serving(self) -> Serving:
        """Raises NotReady while queries cannot be embedded."""
        ...

    @property
    def model(self) -> ServedModel | None:
        """None until it is loaded."""
        ...

    @property
    def lanes(self) -> Mapping[str, LaneDepth]:
        """By name of the lane; empty until the model is loaded."""
        ...

    @property
    def ingest_state(self) -> str:
        """`running`, `starting`, `stopped` or `off`, and why where it is not running."""
        ...

    @property
    def rerank_state(self) -> str:
        """`off`, `not loaded yet`, `loading`, `loaded`, or `failed: …` or `failing: …` with the reason."""
        ...

    @property
    def read_watches(self) -> ReadWatches | None:
        """None without a database."""
        ...

    @property
    def database(self) -> Database | None:
        """For searches. None without DATABASE_URL."""
        ...

    async def refresh_gauges(self) -> None:
        """Brings the metrics of what is now up to date. Takes a second or two at most, whatever the database does."""
        ...

    def check_ready(self) -> None:
        """Raises NotReady unless queries can be embedded and every task is alive. Does not look at the database."""
        ...
