"""Number formats, and how much vectors may differ when computed in them. Imports no torch."""

from __future__ import annotations

from typing import Literal

Precision = Literal["bf16", "fp16", "fp32", "int8"]

# Least cosine between a vector and the same vector computed in fp32 on another machine, or in another batch.
# In fp32 they differ by rounding and TF32; bf16 keeps 8 bits, so a 27-block tower drifts by about 1e-3.
MIN_COSINE: dict[Precision, float] = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.995, "int8": 0.995}
