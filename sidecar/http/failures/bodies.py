"""Bodies and answers of `GET /failures` and `POST /retry`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from sidecar.http.body_models import AnswerModel, RequestModel
from sidecar.http.watches.keys import KeyValue

MAX_KEYS = 1000
MAX_REASON_CHARS = 100
_MAX_NAME_CHARS = 1000


class FailureReasonAnswer(AnswerModel):
    reason: str = Field(examples=["not_a_picture"])
    rows: int
    advice: str = Field(description="What to do.")
    retry_helps: bool = Field(description="False: the row fails again until its content changes.")


class FailureAnswer(AnswerModel):
    """A row whose content cannot be embedded."""

    table: str
    target: str
    key: dict[str, JsonValue]
    reason: str
    message: str
    at: datetime
    attempts: int


class FailuresAnswer(AnswerModel):
    reasons: list[FailureReasonAnswer] = Field(description="Of all failures of the watches, the most frequent first.")
    failures: list[FailureAnswer] = Field(description="The newest first.")
    next: str | None = Field(description="`after` for the next page; null: there is none.")


class RetryBody(RequestModel):
    """All failed rows of the table, or those with a reason, or with keys."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field(max_length=_MAX_NAME_CHARS, description="The watched table, as in SQL.", examples=["photos"])
    target: str | None = Field(
        default=None, max_length=_MAX_NAME_CHARS, description="The vector column; default: all watches of the table."
    )
    keys: Annotated[list[KeyValue | dict[str, KeyValue]], Field(min_length=1, max_length=MAX_KEYS)] | None = Field(
        default=None,
        fail_fast=True,
        description="Keys of rows: values, or objects of the key columns. Default: all rows.",
        examples=[[7, {"id": 8}]],
    )
    reason: str | None = Field(default=None, max_length=MAX_REASON_CHARS, examples=["decode_timeout"])


class RetryAnswer(AnswerModel):
    rows: int = Field(description="How many rows will be tried again; keys that did not fail are none.")
