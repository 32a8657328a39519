"""Hooks of schemathesis: generates pictures, which no schema can describe."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

from sidecar.pictures.formats.signatures import SUPPORTED_FORMATS
from tests.integration.http.pictures import picture

PICTURES = strategies.sampled_from([picture(colour) for colour in ("red", "green", "blue")])

for name in SUPPORTED_FORMATS:
    schemathesis.openapi.media_type(f"image/{name.lower()}", PICTURES)
