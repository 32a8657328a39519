"""Models of a shop. Watches are declared here (products) or only in hand-written migrations (articles, notes)."""

from pgvector.sqlalchemy import Vector
from sqlalchemy import Index, literal_column
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Product(Base):
    """The vectors of the photos are in the model; those of title and brand exist only in SQL."""

    __tablename__ = "products"
    __table_args__ = (
        {
            "info": {
                "sidecar": [
                    {"source": "photo"},
                    {"source": ["title", "brand"], "target": "title_embedding"},
                ]
            }
        },
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    brand: Mapped[str | None]
    photo: Mapped[bytes | None]
    photo_embedding: Mapped[list[float] | None] = mapped_column(Vector(1152), deferred=True)


class Article(Base):
    """A table in another schema, with its vectors in a companion."""

    __tablename__ = "articles"
    __table_args__ = ({"schema": "press"},)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str | None]


class Note(Base):
    """A table whose HNSW index the project creates itself."""

    __tablename__ = "notes"
    __table_args__ = (
        Index(
            "notes_by_body",
            literal_column("(body_embedding::halfvec(1152))").label("half"),
            postgresql_using="hnsw",
            postgresql_ops={"half": "halfvec_cosine_ops"},
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    body_embedding: Mapped[list[float] | None] = mapped_column(Vector(1152), deferred=True)
