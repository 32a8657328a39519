"""Access methods of extensions that the tests' servers lack, made of pgvector's: real indexes under another name."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.sql.session import Connection, run


def statements_of(method: str, types: Sequence[str] = ("vector", "halfvec"), handler: str = "hnswhandler") -> str:
    """The statements that create the method with its operator classes for cosine distance. pgvector is in `public`.

    HNSW's own support functions serve: distance, norm, and for halfvec its type's.
    """
    classes = {
        "vector": "function 1 vector_negative_inner_product(vector, vector), function 2 vector_norm(vector)",
        "halfvec": "function 1 halfvec_negative_inner_product(halfvec, halfvec), function 2 l2_norm(halfvec), "
        "function 3 hnsw_halfvec_support(internal)",
    }
    made = [f"create access method {method} type index handler {handler}"]
    made += [
        f"create operator class {kind}_cosine_ops for type {kind} using {method} as "
        f"operator 1 <=> ({kind}, {kind}) for order by float_ops, {classes[kind]}"
        for kind in types
    ]
    return ";\n".join(made)


def install_method(db: Connection, method: str, types: Sequence[str] = ("vector", "halfvec")) -> None:
    run(db, statements_of(method, types))
