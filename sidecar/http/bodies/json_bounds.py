"""How much a JSON body may hold, beyond its bytes.

A body of 60 MB may be 20 million empty objects: gigabytes of memory, and a minute in which nothing else is answered.
Pictures and texts are few values with many bytes, so both bounds are far from what an honest request holds.
"""

from __future__ import annotations

from sidecar.errors import InputError
from sidecar.http.limits import RequestLimits

# Parsing so many takes 0.1 s. In texts they are ordinary characters: 1 in 50 of prose is a comma.
_MAX_COMMAS = 1_000_000
_MAX_BRACKETS = 200_000
_MAX_QUOTES = 200_000
_MAX_VALUES = 20_000  # more than a vector has numbers: at most 16,000 in pgvector


def check_marks(body: bytes) -> None:
    """Before parsing. Raises InputError (`too_many_values`)."""
    for marks, most in ((b",", _MAX_COMMAS), (b"[{", _MAX_BRACKETS)):
        if _count(body, marks) > most and _count(_without_texts(body), marks) > most:
            shown = " and ".join(f"`{chr(mark)}`" for mark in marks)
            advice = "Send less at once, and texts rather than their token ids."
            raise InputError("too_many_values", f"The body has over {most:,} of {shown}. {advice}")


def _count(body: bytes, marks: bytes) -> int:
    return sum(body.count(mark) for mark in marks)


def _without_texts(body: bytes) -> bytes:
    """What stands outside of strings: 2,048 texts of code or JSON have any number of marks. 20 ms for 16 MB."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > _MAX_QUOTES:  # splitting them would take gigabytes
        return body
    return b"".join(plain.split(b'"')[::2])


def check_values(parsed: object, limits: RequestLimits) -> None:
    """Before validation, which makes an object and up to five complaints of each. Raises InputError."""
    most = max(_MAX_VALUES, 4 * limits.max_batch_texts, 8 * limits.max_rerank_documents)
    count = 0
    containers: list[object] = [parsed]
    while containers:
        container = containers.pop()
        if not isinstance(container, list | dict):
            continue
        count += len(container)
        if count > most:
            raise InputError("too_many_values", f"The body holds over {most:,} values. Send less at once.")
        containers += container.values() if isinstance(container, dict) else container
