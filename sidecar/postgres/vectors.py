"""Packs vectors into the binary formats of pgvector's types, in bulk.

256 vectors of 1152 dimensions take 2 ms in one numpy structured array, and 150 ms as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import asyncpg
import numpy as np
from numpy.typing import NDArray

from sidecar.errors import SchemaError, WatchChanged
from sidecar.postgres.statements import statement

Storage: TypeAlias = Literal["vector", "halfvec"]  # the types that a watch may store its vectors as
NUMBER_BYTES: Mapping[Storage, int] = {"vector": 4, "halfvec": 2}


def pack_vectors(vectors: Sequence[NDArray[np.float32]], storage: Storage) -> list[bytes]:
    """One bytes object per (d,) float32 vector, as vector_recv or halfvec_recv reads it: int16 d, int16 0, d big-endian
    floats.

    In a halfvec each number is rounded to the nearest of 11 significant bits, as pgvector's own cast does, and to a
    multiple of 6e-8. The largest half is 65504: the numbers of a unit vector are at most 1.
    """
    if not vectors:
        return []
    dimensions = len(vectors[0])
    number = f">f{NUMBER_BYTES[storage]}"
    packed = np.zeros(len(vectors), dtype=[("dim", ">i2"), ("unused", ">i2"), ("x", number, (dimensions,))])
    packed["dim"] = dimensions
    packed["x"] = np.stack(vectors)
    data, size = packed.tobytes(), packed.itemsize
    return [data[i : i + size] for i in range(0, len(data), size)]


def vector_digest(packed: bytes) -> bytes:
    """SHA-256 of the stored bytes: what sha256(vector_send(v)) gives in SQL."""
    return hashlib.sha256(packed).digest()


async def register_vector(connection: asyncpg.Connection) -> None:
    """Makes a connection take packed bytes as parameters of types `vector`, `halfvec` and arrays of them.

    Raises SchemaError if pgvector is not installed, WatchChanged if its schema is renamed meanwhile.
    """
    schema = await connection.fetchval(statement("pgvector_schema"))
    if schema is None:
        raise SchemaError("the pgvector extension is not installed in this database: run `sidecar migrate`")
    try:
        for storage in NUMBER_BYTES:
            await connection.set_type_codec(storage, schema=schema, encoder=bytes, decoder=bytes, format="binary")
    except ValueError as error:  # asyncpg's "unknown type": the schema was renamed since
        raise WatchChanged(f"pgvector is no longer in schema {schema}") from error
