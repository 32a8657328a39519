"""Base classes of the JSON in requests and in answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """JSON of a request. Values of another type are refused, never converted. Unknown fields are ignored by default."""

    model_config = ConfigDict(strict=True, frozen=True)


class AnswerModel(BaseModel):
    """JSON of an answer. Fields may be called `model_…`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())
