"""The one shape of an error, which OpenAI's client reads too."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from sidecar.http.body_models import AnswerModel

ErrorType: TypeAlias = Literal[
    "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "server_error"
]


class ErrorDetail(AnswerModel):
    code: str = Field(description="Stable, for programs.", examples=["empty_text"])
    message: str = Field(
        description="What was wrong, and what to do.", examples=["`texts[2]` is empty; there is nothing to embed."]
    )
    type: ErrorType
    param: str | None = Field(description="The field or file that was wrong.", examples=["texts[2]"])


class ErrorAnswer(AnswerModel):
    error: ErrorDetail
