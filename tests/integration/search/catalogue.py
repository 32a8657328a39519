"""A table with three watches: of texts in its rows, of pictures in a companion, and of texts of another model."""

from __future__ import annotations

from tests.encoders import HashEncoder
from tests.integration.search.shop import DIMENSIONS, claim_space, fill_in, make_encoder, vector_literal
from tests.integration.sql.session import Connection, run

ITEMS = (
    # id, title, what the photo shows (None: it has no vector), price, tenant
    (1, "red bicycle", "a bicycle at a wall", 99.9, 7),
    (2, "green mug", "steam over a cup", 4.5, 7),
    (3, "old lighthouse", "red bicycle", 30, 8),
    (4, "small boat", None, 1000, 8),
    (5, "paper lamp", "green mug", 12, 7),
    (6, "tin robot", "a toy of tin", 12, 7),
)
TARGETS = ("t", "p")


def make_catalogue(db: Connection) -> HashEncoder:
    """`catalogue` with the targets `t` (titles; exposes title, price, tenant) and `p` (photos; title, tenant)."""
    encoder = make_encoder()
    run(
        db,
        f"""
        create table catalogue (id bigint primary key, title text, photo bytea, price numeric, tenant int, secret text);
        select sidecar.watch('catalogue', 'title', 't', dimensions => {DIMENSIONS},
                             expose => array['title', 'price', 'tenant']);
        select sidecar.watch('catalogue', 'photo', 'p', dimensions => {DIMENSIONS}, companion => 'photo_vectors',
                             expose => array['tenant', 'title']);
        """,
    )
    for row, title, _, price, tenant in ITEMS:
        insert = "insert into catalogue values (%s, %s, 'x', %s, %s, 's')"
        run(db, insert, row, title, price, tenant)
    fill_in(db, encoder, "catalogue", "title", "t")
    run(db, "set sidecar.writer = 'on'")
    for row, _, seen, *_ in ITEMS:
        if seen is not None:
            run(db, "insert into photo_vectors (id, p) values (%s, %s::vector)", row, vector_literal(encoder, seen))
    run(db, "reset sidecar.writer")
    claim_space(db, encoder)
    return encoder


def distances_from(encoder: HashEncoder, text: str) -> dict[int, dict[str, float | None]]:
    """The cosine distance of each row in each target, as numpy computes it."""
    query = encoder.vector_of(text)
    return {
        row: {
            "t": float(1 - query @ encoder.vector_of(title)),
            "p": None if seen is None else float(1 - query @ encoder.vector_of(seen)),
        }
        for row, title, seen, *_ in ITEMS
    }


def ranks_of(distances: dict[int, dict[str, float | None]]) -> dict[int, dict[str, int | None]]:
    """The place of each row in each target."""
    ranks: dict[int, dict[str, int | None]] = {row: dict.fromkeys(TARGETS) for row in distances}
    for target in TARGETS:
        measured = [(distance, row) for row, each in distances.items() if (distance := each[target]) is not None]
        for place, (_, row) in enumerate(sorted(measured), 1):
            ranks[row][target] = place
    return ranks


def scores_of(ranks: dict[int, dict[str, int | None]], weights: tuple[float, float] = (1, 1)) -> dict[int, float]:
    """By reciprocal rank fusion, best first."""
    scores = {
        row: sum(
            weight / (60 + place) for target, weight in zip(TARGETS, weights, strict=True) if (place := each[target])
        )
        for row, each in ranks.items()
    }
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
