"""The answer of `GET /watches`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sidecar.errors import InputError
from sidecar.http.body_models import AnswerModel
from sidecar.http.models import ModelInfo
from sidecar.http.watches.fitness import check_model, warnings_of
from sidecar.http.watches.grant import FilterNotApplicable, Grant
from sidecar.postgres.search import SearchedWatch
from sidecar.postgres.watch_settings import WatchSettings

_LOADING = "The model is not loaded."


class ExposedColumn(AnswerModel):
    """A column that a search returns."""

    name: str
    type: str = Field(description="As SQL names it.", examples=["numeric(10,2)"])
    comparable: bool = Field(description="Whether a filter can compare it.")


class WatchAnswer(AnswerModel):
    """A watched table and target."""

    watch: str = Field(description="Its name in metrics, `/status` and `/events`.")
    table: str = Field(description="Schema-qualified and quoted, as searches take it.", examples=["public.products"])
    target: str = Field(description="The column of the vectors.", examples=["photo_embedding"])
    companion: str | None = Field(description="The table of the vectors, as SQL names it; null: they are in `table`.")
    kind: Literal["text", "image"]
    source: list[str] = Field(description="The columns that are embedded.")
    key_columns: list[str] = Field(description="The primary key; filters can name these columns, too.")
    columns: list[ExposedColumn] = Field(description="The columns that the watch exposes.")
    has_thumbnails: bool = Field(description="Whether `/thumbnail` shows its pictures: it exposes their column, too.")
    dimensions: int
    storage: Literal["vector", "halfvec"] = Field(description="The type that the vectors are stored as.")
    index: str = Field(
        description="What `sidecar.watch` was told of the index; `halfvec` and `vector`: HNSW on that type.",
        examples=["halfvec", "ivfflat", "using hnsw ((e::halfvec(1152)) halfvec_cosine_ops) with (m = 24)", "none"],
    )
    required_model: str | None = Field(
        description="The model or fingerprint that alone may fill the watch, as `sidecar.watch` was told; null: any."
    )
    paused: bool
    model: str | None = Field(description="Of the vectors; null: the watch has none yet.")
    searchable: bool = Field(description="Whether `/search` can search it, with the model that is served and this key.")
    problem: str | None = Field(description="Why not; null if it can.")
    warnings: list[str] = Field(description="What limits the results: a paused watch, columns that are gone …")


class WatchesAnswer(AnswerModel):
    watches: list[WatchAnswer]


def watch_answer(watch: SearchedWatch, settings: WatchSettings, model: ModelInfo | None, grant: Grant) -> WatchAnswer:
    """A watch as a search with `model` sees it; None: it is not loaded."""
    problem = _problem(watch, model, grant)
    return WatchAnswer(
        watch=watch.name,
        table=watch.table_name,
        target=watch.target,
        companion=watch.companion,
        kind="image" if watch.kind == "image" else "text",
        source=list(watch.source),
        key_columns=list(watch.key_columns),
        columns=[
            ExposedColumn(name=name, type=type_, comparable=name not in watch.incomparable)
            for name, type_ in zip(watch.exposed, watch.exposed_types, strict=True)
        ],
        has_thumbnails=watch.shows_pictures,
        dimensions=watch.dimensions,
        storage="halfvec" if settings.storage == "halfvec" else "vector",
        index=settings.index,
        required_model=settings.model,
        paused=watch.paused,
        model=watch.model if watch.fingerprint else None,
        searchable=problem is None,
        problem=problem,
        warnings=warnings_of(watch),
    )


def _problem(watch: SearchedWatch, model: ModelInfo | None, grant: Grant) -> str | None:
    if model is None:
        return _LOADING
    try:
        check_model(watch, model)
        grant.check_filter(watch)
    except (InputError, FilterNotApplicable) as error:
        return error.message
    return None
