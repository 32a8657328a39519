"""Bodies and answers of `GET /tables` and `POST /plan`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from sidecar.http.body_models import AnswerModel, RequestModel

MAX_COLUMNS = 100
_MAX_NAME_CHARS = 1000

_Name = Annotated[str, Field(min_length=1, max_length=_MAX_NAME_CHARS)]


class RefusalAnswer(AnswerModel):
    """The error that `sidecar.watch` would raise."""

    message: str
    hint: str | None
    sqlstate: str


class ColumnAnswer(AnswerModel):
    name: str
    type: str = Field(description="As SQL names it.", examples=["text"])
    kind: Literal["text", "image"] | None = Field(description="What it can be the source of; null: of nothing.")


class TableAnswer(AnswerModel):
    table: str = Field(description="Schema-qualified and quoted, as `/plan` takes it.", examples=["public.products"])
    owner: str = Field(description="The role that can watch it.")
    rows: int | None = Field(description="An estimate; null: the table was never analysed.")
    bytes: int | None = Field(description="With indexes; null while the table is locked.")
    key_columns: list[str]
    columns: list[ColumnAnswer] = Field(description="Those that the service's role may read.")
    problem: RefusalAnswer | None = Field(description="Why it cannot be watched; null if it can.")
    watches: list[str] = Field(description="The targets of its watches.")


class TablesAnswer(AnswerModel):
    """Tables that the service's role may read, without those of Postgres, of extensions and of the sidecar."""

    tables: list[TableAnswer]
    has_more: bool = Field(description="More tables begin with `search` than `limit`.")


class PlanBody(RequestModel):
    """A watch, with the arguments of `sidecar.watch`."""

    model_config = ConfigDict(extra="forbid")

    table: _Name = Field(description="The table, as in SQL.", examples=["products"])
    source: list[_Name] = Field(
        min_length=1, max_length=MAX_COLUMNS, description="The columns to embed.", examples=[["title", "brand"]]
    )
    kind: Literal["text", "image"] | None = Field(default=None, description="Default: by the type of the columns.")
    target: _Name | None = Field(default=None, description="The vector column; default: by the first source.")
    companion: _Name | None = Field(default=None, description="Keep the vectors in this table, which may be new.")
    index: _Name = Field(
        default="halfvec", description="As of `sidecar.watch`; only HNSW without options is estimated."
    )
    storage: Literal["vector", "halfvec"] | None = Field(default=None, description="Type of the vector column.")
    expose: list[_Name] = Field(
        default_factory=list, max_length=MAX_COLUMNS, description="Columns that searches over REST may show."
    )


class PreviewedRowAnswer(AnswerModel):
    """A row as it is now."""

    key: dict[str, str | None] = Field(description="Values of the primary key, as text.")
    text: str | None = Field(description="The beginning of the text, 200 characters at most; null of a picture.")
    bytes: int | None = Field(description="Of the whole text or file; null: there is nothing to embed.")
    format: str | None = Field(description="Of a picture, as its first bytes tell.", examples=["JPEG"])
    width: int | None = Field(description="Of a picture in pixels, where the beginning of its file tells.")
    height: int | None


class IndexMemoryAnswer(AnswerModel):
    maintenance_work_mem_bytes: int = Field(description="Of the service's session.")
    effective_cache_bytes: int
    build_s: float = Field(description="With that maintenance_work_mem.")
    rows_per_partition: int = Field(description="Rows whose index fits into memory.")
    partitions: int = Field(description="1: one index fits into memory.")


class DeviceTimeAnswer(AnswerModel):
    device: str
    views_per_s: float
    device_s: float
    measured_by: str
    source: str = Field(description="Where the measurement is published.")


class PlanAnswer(AnswerModel):
    """What watching the table takes. A text counts as one view."""

    relation: str
    owner: str = Field(description="The role that can run `sql`.")
    target: str
    kind: Literal["text", "image"]
    storage: str
    index: str
    dimensions: int
    rows: int
    estimated: bool = Field(description="Whether `rows` is an estimate.")
    rows_to_embed: int
    source_bytes: int
    sampled_rows: int
    sampled_pictures: int = Field(description="Those whose size in pixels could be read.")
    context_length: int = Field(description="Number of tokens of a text that the model reads.")
    sampled_long_texts: int | None = Field(
        description="Longer than the model reads, at four letters a token; null for pictures."
    )
    long_text_share: float | None = Field(description="Their share of the sampled texts, from 0 to 1.")
    views: int
    views_per_row: float
    views_per_s: float | None = Field(description="As running sidecars measured; null: none has.")
    device_s: float | None
    typical_devices: list[DeviceTimeAnswer] = Field(description="Only for the default model.")
    vector_bytes: int
    index_bytes: int
    index_build_s: float
    graph_bytes: int = Field(description="Memory that building the index takes.")
    index_memory: IndexMemoryAnswer | None
    ledger_bytes: int
    rewritten_bytes: int
    disk_bytes: int
    headroom_bytes: int = Field(description="Free disk space that REINDEX needs later.")
    wal_bytes: int
    sweep_s: float
    preview: list[PreviewedRowAnswer] = Field(description="Five rows at most.")
    refusal: RefusalAnswer | None = Field(description="Why `sidecar.watch` would refuse; null if it would not.")
    sql: str = Field(description="The statement that starts the watch, to be run by `owner`.")
