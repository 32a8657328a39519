"""Parts of answers that several foreign APIs share: headers, token counts, vectors in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.embedder import Embedded
from sidecar.http.body_models import AnswerModel
from sidecar.http.models import ModelInfo

_FINGERPRINT, _TRUNCATED, _UNREADABLE = "X-Sidecar-Fingerprint", "X-Sidecar-Truncated", "X-Sidecar-Unreadable"
# What these APIs have no field for: names of headers with their descriptions.
VECTOR_HEADERS = (
    (_FINGERPRINT, "The vector space. Vectors can be compared only if it is equal."),
    (_TRUNCATED, "Number of texts that were longer than the model reads; their ends do not affect the vectors."),
    (_UNREADABLE, "Number of texts of which the model does not know at least half; such vectors mean little."),
)
COMPUTE_TOKENS = ("X-Compute-Tokens", "Number of tokens that the model read, counted as in text-embeddings-inference.")


class Usage(AnswerModel):
    """What was read: the tokens of texts that affect the vectors, and one for every view of a picture."""

    prompt_tokens: int
    total_tokens: int


class ApiVersion(AnswerModel):
    version: str


def vector_headers(embedded: Sequence[Embedded], model: ModelInfo) -> dict[str, str]:
    """The headers described by VECTOR_HEADERS."""
    return {
        _FINGERPRINT: model.fingerprint,
        _TRUNCATED: str(sum(result.truncated for result in embedded)),
        _UNREADABLE: str(sum(result.unreadable for result in embedded)),
    }


def compute_tokens_header(tokens: int) -> dict[str, str]:
    """The header described by COMPUTE_TOKENS."""
    return {COMPUTE_TOKENS[0]: str(tokens)}


def encode_base64(vector: NDArray[np.float32]) -> str:
    """The vector's float32 numbers, little-endian, in base64."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")
