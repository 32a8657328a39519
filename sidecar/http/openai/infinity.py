"""`/embeddings`, `/embeddings_image` and `/models`, for infinity's client: OpenAI's API under shorter paths."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.job import Lane
from sidecar.http.body_models import AnswerModel
from sidecar.http.json_response import JsonResponse
from sidecar.http.models import GetModels
from sidecar.http.openai.bodies import EmbeddingsBody
from sidecar.http.openai.endpoints import OpenaiEndpoints
from sidecar.http.operation import Operation, Scope


class ImageEmbeddingsBody(EmbeddingsBody):
    """Like EmbeddingsBody, but inputs are pictures unless `modality` says otherwise."""

    modality: Literal["text", "image"] | None = Field(default="image")


class QueueStats(AnswerModel):
    """The state of the query lane."""

    queue_fraction: float
    queue_absolute: int
    results_pending: int
    batch_size: int


class InfinityModel(AnswerModel):
    id: str
    object: Literal["model"] = "model"
    owned_by: Literal["infinity"] = Field(default="infinity", description="All that infinity's client accepts.")
    created: int = Field(description="When this process started, in seconds since 1970.")
    stats: QueueStats
    backend: str = "torch"
    capabilities: list[str]


class InfinityModels(AnswerModel):
    object: Literal["list"] = "list"
    data: list[InfinityModel]


class InfinityEndpoints:
    """OpenAI's endpoints under infinity's paths. infinity's `/rerank` is in `rerank`, its `/health` in `tei`."""

    def __init__(self, get_models: GetModels, openai: OpenaiEndpoints) -> None:
        self._get_models = get_models
        self._openai = openai

    def operations(self) -> list[Operation]:
        embed = "Embed texts or pictures (infinity's API)"
        pictures = "Embed pictures (infinity's API)"
        models = "List the served model (infinity's API)"
        return [
            self._openai.embeddings_operation("/embeddings", embed, EmbeddingsBody),
            self._openai.embeddings_operation("/embeddings_image", pictures, ImageEmbeddingsBody),
            Operation("GET", "/models", self.models, models, Scope.EMBED, InfinityModels, errors=(503, 504)),
        ]

    async def models(self, _request: Request) -> Response:
        """The model under its own name, then under each alias."""
        items, models = self._openai.model_items(), self._get_models()
        lane = models.lane_depth(Lane.QUERY)
        stats = QueueStats(
            queue_fraction=lane.waiting / lane.capacity,
            queue_absolute=lane.waiting,
            results_pending=lane.running,
            batch_size=models.embedder.max_batch_views,
        )
        data = [
            InfinityModel(id=item.id, created=item.created, stats=stats, capabilities=["embed", "image_embed"])
            for item in items
        ]
        return JsonResponse(InfinityModels(data=data))
