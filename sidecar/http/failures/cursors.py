"""Places among failures, as opaque texts."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import orjson

from sidecar.errors import InputError
from sidecar.postgres.failures import FailedRow

_MAX_INTEGER = 2**31 - 1


def cursor_after(row: FailedRow) -> str:
    place = [row.at.isoformat(), row.watch_id, row.key_digest]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read_cursor(text: str | None) -> tuple[datetime, int, str] | None:
    """The place that `cursor_after` wrote. Raises InputError (`wrong_cursor`)."""
    if text is None:
        return None
    try:
        at, watch_id, digest = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        failed_at = datetime.fromisoformat(at)
        place = failed_at.astimezone(UTC), int(watch_id), str(digest)  # UTC: not every zone's first year has one in it
        if failed_at.tzinfo is not None and 0 <= place[1] <= _MAX_INTEGER and "\0" not in digest:
            return place
    except (binascii.Error, ValueError, TypeError, OverflowError):
        pass
    message = "`after` is no place among failures: give the `next` of the page before."
    raise InputError("wrong_cursor", message, "after")
