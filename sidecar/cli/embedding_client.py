"""A small client of a running sidecar's REST service, for query vectors."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sidecar.cli.errors import AccessRefused, ServiceUnavailable
from sidecar.errors import ConfigurationError, InputError

_TIMEOUT_S = 90.0
_ADVICE = {
    "missing_key": "Set SIDECAR_API_KEY to one of the service's keys, with the scope `embed`.",
    "invalid_key": "SIDECAR_API_KEY is set, but is not a valid key for this service.",
    "forbidden_scope": "Set SIDECAR_API_KEY to a key with the scope `embed`.",
}


@dataclass(frozen=True, slots=True)
class PairScale:
    """sigmoid(scale · cosine + bias) is the probability that a text and a picture belong together."""

    scale: float
    bias: float


@dataclass(frozen=True, slots=True)
class QueryVector:
    """A unit vector, with the model and the fingerprint of its vector space. Some models have no `pair_scale`."""

    vector: list[float]
    model: str
    fingerprint: str
    truncated: bool
    unreadable: bool = False
    pair_scale: PairScale | None = None


class EmbeddingClient:
    """Embeds one query at a time; sends `key` if there is one.

    Raises ServiceUnavailable, AccessRefused if the service wants another key, InputError if it rejects the input.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(
                [f"--url or SIDECAR_URL, {url}: an address such as http://127.0.0.1:9000 is expected"]
            )
        self._url = url.rstrip("/")
        self._key = key

    def embed_text(self, text: str) -> QueryVector:
        return self._post("/embed/text", json.dumps({"text": text}).encode(), "application/json")

    def embed_picture(self, picture: bytes) -> QueryVector:
        boundary = uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
        body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
        return self._post("/embed/image", body, f"multipart/form-data; boundary={boundary}")

    def _post(self, path: str, body: bytes, content_type: str) -> QueryVector:
        parts = urlsplit(self._url)
        headers = {"Content-Type": content_type}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
            try:
                connection.request("POST", parts.path + path, body, headers)
                response = connection.getresponse()
                status, answer = response.status, response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceUnavailable(
                f"the service does not answer at {self._url}: {getattr(error, 'strerror', None) or error}\n"
                "HINT: Start it with `sidecar serve`, or name a running one: --url http://host:port"
            ) from error
        return self._read(status, answer)

    def _read(self, status: int, body: bytes) -> QueryVector:
        try:
            content: dict[str, Any] = json.loads(body)
            if status == 200:
                vector = [float(number) for number in content["embedding"]]
                unreadable = content.get("unreadable", False)  # missing from services of an older version
                scale = content.get("pair_scale")
                return QueryVector(
                    *(vector, content["model"], content["fingerprint"], content["truncated"], unreadable),
                    pair_scale=None if scale is None else PairScale(scale["scale"], scale["bias"]),
                )
            code, message = content["error"]["code"], content["error"]["message"]
        except (ValueError, LookupError, TypeError) as error:
            raise ServiceUnavailable(
                f"what answers at {self._url} is not a sidecar (status {status}).\nHINT: Name the right one: --url http://host:port"
            ) from error
        if status in {401, 403}:
            hint = f"\nHINT: {_ADVICE[code]}" if code in _ADVICE else ""
            raise AccessRefused(f"the service at {self._url} refuses: {message}{hint}")
        if 400 <= status < 500 and status != 429:
            raise InputError(code, message)
        hint = f"Try again in a moment; {self._url}/readyz says what it waits for."
        raise ServiceUnavailable(f"the service at {self._url} cannot embed now: {message}\nHINT: {hint}")
