"""Pages of `POST /search`: `offset` skips rows, `after` goes on where a page ended, which its answer says as `next`."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

import orjson

from sidecar.errors import InputError
from sidecar.http.limits import RequestLimits
from sidecar.http.search.bodies import SearchBody
from sidecar.postgres.search import NearestRow

MAX_PAGED_ROWS = 100_000  # search_page refuses to go further
_DIGEST_BYTES = 9
_ROUNDING = 1e-6  # of float32 vectors: without it `min_score` 1 would miss the row that was asked for
_SEARCH = {"table", "target", "text", "image", "vector", "query", "include_keys", "filter"}


def check_page(body: SearchBody, limits: RequestLimits) -> None:
    """Raises InputError (`out_of_range`, `wrong_page`) for a page that there cannot be."""
    if body.offset + body.k > limits.max_search_rows:
        message = (
            f"`offset` + `k` is {body.offset + body.k}; at most {limits.max_search_rows} (MAX_SEARCH_ROWS) rows are "
            "searched for. `after` goes further."
        )
        raise InputError("out_of_range", message, "offset")
    if body.after is None:
        return
    for name in ("offset", "targets", "hybrid", "rerank", "diversity"):
        if getattr(body, name):
            message = f"`after` cannot go with `{name}`: use `offset` for pages of reordered results."
            raise InputError("wrong_page", message if name != "offset" else "Give `after` or `offset`.", name)


def is_reordered(body: SearchBody) -> bool:
    """Whether the results have another order than their distances."""
    return bool(body.targets or body.hybrid or body.rerank or body.diversity)


def page_of(body: SearchBody, rows: Sequence[NearestRow], wanted: int, skipped: int) -> list[NearestRow]:
    """The rows to show, or to reorder, of those found: the `wanted` that come first, in the order of `rows`.

    `skipped` of the rows before the page have been left out already.
    """
    first = {row.key for row in sorted(rows, key=rows_up_to)[:wanted]}
    kept = [row for row in rows if row.key in first][0 if is_reordered(body) else body.offset - skipped :]
    if body.min_score is None:
        return kept
    least = body.min_score - _ROUNDING
    return [row for row in kept if row.distance is not None and 1 - row.distance >= least]


def read_place(body: SearchBody, fingerprint: str) -> str | None:
    """The place of `after`, as Postgres wrote it. Raises InputError (`wrong_cursor`, `out_of_range`)."""
    if body.after is None:
        return None
    try:
        written = base64.b64decode(body.after.encode("ascii"), altchars=b"-_", validate=True)
        place = written[_DIGEST_BYTES:].decode()
        rows_before = int(orjson.loads(place)["n"])
    except (binascii.Error, ValueError, TypeError, KeyError) as error:
        raise InputError("wrong_cursor", "`after` must be the `next` of an answer, unchanged.", "after") from error
    if written[:_DIGEST_BYTES] != _digest(body, fingerprint):
        message = "`after` is of another search: give what was searched for, and `filter`, as in the request before."
        raise InputError("wrong_cursor", message, "after")
    if rows_before + body.k > MAX_PAGED_ROWS:
        message = f"The pages of a search end at row {MAX_PAGED_ROWS}: narrow it by `filter`."
        raise InputError("out_of_range", message, "after")
    return place


def next_page(body: SearchBody, fingerprint: str, found: Sequence[NearestRow]) -> str | None:
    """`after` for the page after this one; None: there is none, or the results are reordered."""
    if len(found) < body.k or is_reordered(body):
        return None
    last = max(found, key=rows_up_to)
    if last.place is None or rows_up_to(last) + body.k > MAX_PAGED_ROWS:
        return None
    return base64.b64encode(_digest(body, fingerprint) + last.place.encode(), altchars=b"-_").decode("ascii")


def rows_up_to(row: NearestRow) -> int:
    """The number of a row among all rows of its search, from 1; 0 where it has no place."""
    return 0 if row.place is None else int(orjson.loads(row.place)["n"])


def _digest(body: SearchBody, fingerprint: str) -> bytes:
    """Of what the search finds, whatever its page."""
    asked = orjson.dumps([fingerprint, body.model_dump(include=_SEARCH)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(asked, digest_size=_DIGEST_BYTES).digest()
