"""Tables of every shape, end to end: a user's statement at one end, a vector that the oracle checks at the other."""

from tests.integration.ingest.conftest import db, encoder

__all__ = ["db", "encoder"]
