"""References to pictures in JSON bodies: data URIs, and URLs of hosts that ALLOW_IMAGE_URLS names."""

from __future__ import annotations

import base64
import binascii
import re

from sidecar.errors import InputError, PictureRejected
from sidecar.http.images.fetcher import ImageFetcher

_PICTURE_URI = re.compile(r"data:image/[a-z0-9.+-]{1,100}(?:;[^;,]{0,100}){0,4};base64,", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
_MAX_HEAD_CHARS = 1000  # before the comma of a data URI
_ANY_TYPE = {"", "application/octet-stream", "binary/octet-stream"}
_EXAMPLE = "Example: data:image/jpeg;base64,/9j/4AAQ…"


def is_image_reference(text: str) -> bool:
    """Whether `text` is a picture's data URI, with its media type and `;base64,`.

    Such a text is never meant as words. A URL may be: people embed the text of URLs, so a URL counts as a picture only
    if the request says so.
    """
    return _PICTURE_URI.match(text) is not None


class ImageLoader:
    """Loads the pictures that JSON bodies refer to."""

    def __init__(self, max_image_bytes: int, urls: ImageFetcher) -> None:
        self._max_image_bytes = max_image_bytes
        self._urls = urls

    async def load(self, reference: str, param: str) -> bytes:
        """The encoded picture. Raises InputError and PictureRejected, which name the reference `param`."""
        if reference[:5].lower() == "data:":
            return _decode_data_uri(reference, param, self._max_image_bytes)
        if not _URL.match(reference):
            message = f"`{param}` must be the data URI of a picture. {_EXAMPLE}"
            raise InputError("invalid_image_reference", message, param)
        try:
            return await self._urls.fetch(reference)
        except PictureRejected as error:
            raise PictureRejected(error.code, f"`{param}`: {error.message}", param) from error
        except InputError as error:
            raise InputError(error.code, f"`{param}`: {error.message}", param) from error


def _decode_data_uri(uri: str, param: str, max_bytes: int) -> bytes:
    head, comma, _ = uri[5:_MAX_HEAD_CHARS].partition(",")
    media_type, *parameters = head.lower().replace(" ", "").split(";")
    if not comma or "base64" not in parameters:
        raise InputError("invalid_data_uri", f"`{param}` is a data URI without `;base64,`. {_EXAMPLE}", param)
    if not media_type.startswith("image/") and media_type not in _ANY_TYPE:
        message = f"`{param}` is a data URI of {media_type[:100]!r}, not of a picture. {_EXAMPLE}"
        raise PictureRejected("unsupported_format", message, param)
    image = _decode_base64(uri[5 + len(head) + 1 :], param, max_bytes)
    if not image:
        raise InputError("empty_file", f"`{param}` is an empty picture.", param)
    return image


def _decode_base64(encoded: str, param: str, max_bytes: int) -> bytes:
    padding = 2 if encoded.endswith("==") else int(encoded.endswith("="))
    if len(encoded) // 4 * 3 - padding > max_bytes:
        message = f"`{param}` has more than {max_bytes} bytes. The limit is MAX_IMAGE_BYTES."
        raise PictureRejected("too_many_bytes", message, param)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters outside ASCII
        raise InputError("invalid_base64", f"`{param}` is not base64: {_reason(error)}.", param) from error


def _reason(error: ValueError) -> str:
    reason = str(error).rstrip(".")
    return reason[:1].lower() + reason[1:]
