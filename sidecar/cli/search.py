"""`sidecar search`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.errors import warn
from sidecar.cli.found_rows import Match, print_match
from sidecar.cli.nearness import match_probability
from sidecar.cli.options import Columns, DatabaseUrl, Json, Table, Target
from sidecar.cli.output import echo, print_json
from sidecar.errors import InputError, PictureRejected
from sidecar.printable import in_lines

if TYPE_CHECKING:
    from sidecar.cli.embedding_client import EmbeddingClient, QueryVector
    from sidecar.operations.operations import Operations
    from sidecar.operations.search import SearchableWatch

_SEARCH_THE_WORDS = "HINT: To search for these words themselves, add --text."
_PICTURE_SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def search(  # noqa: PLR0913 - one parameter for every option of the command
    table: Table,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A text, or the path of a picture.", show_default=False)
    ],
    target: Target = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Number of rows.")] = 5,
    text: Annotated[bool, typer.Option("--text", help="QUERY is a text, even if a file has that name.")] = False,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The service. Default: SIDECAR_URL, or port BIND_PORT (9000) here.", show_default=False
        ),
    ] = None,
    columns: Columns = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Find the rows nearest to a text or a picture. Asks the running service for the query's vector.

    SIDECAR_API_KEY is the key to send, if the service needs one.
    If a table has several watches and none is named, the one on pictures is searched.

    \b
    Examples:
      sidecar search products 'red running shoes' --target title_embedding
      sidecar search products shoe.jpg --target photo_embedding --limit 3
    """
    picture = None if text else _read_picture(query)
    with open_database(database_url, "reader", table) as operations:
        watch = operations.watch_to_search(table, _choose_target(operations, table, target))
        vector = _embed(_make_client(url), query, picture)
        _check_space(watch, vector)
        found = operations.search(watch, vector.vector, limit)
    match = Match(found, watch, _probabilities(watch, vector, "text" if picture is None else "image", found.distances))
    if as_json:
        print_json(_as_objects(match))
    elif not found.rows:
        echo(f"{watch.relation}.{watch.target} holds no vectors yet. See: sidecar status {quote(table)}")
    else:
        print_match(match, columns)


def _read_picture(query: str) -> bytes | None:
    """The bytes of the file that `query` names; None if it is a text.

    Raises InputError if the file of a picture cannot be read.
    """
    path = Path(query).expanduser()
    has_picture_suffix = path.suffix.lower() in _PICTURE_SUFFIXES
    try:
        if has_picture_suffix or path.is_file():
            return path.read_bytes()
    except OSError as error:
        if has_picture_suffix:
            raise InputError("file_not_readable", f"{query}: {error.strerror}\n{_SEARCH_THE_WORDS}") from error
    return None


def _choose_target(operations: Operations, table: str, target: str | None) -> str | None:
    """`target`, or else the target of the only watch on pictures: texts and pictures both find pictures.

    Prints the choice to stderr if there was one. None if the table has only one watch, or if several could be meant:
    the server then names them in its error.
    """
    if target is not None:
        return target
    watches = operations.status(table)
    of_pictures = [watch for watch in watches if watch.kind == "image"]
    if len(watches) == 1 or len(of_pictures) != 1:
        return None
    chosen = of_pictures[0]
    others = " or ".join(quote(watch.target) for watch in watches if watch is not chosen)
    so_far = f", {chosen.embedded:,} of {chosen.rows:,} rows so far" if chosen.pending else ""
    chosen_name = f"{table}.{chosen.target}"
    typer.echo(in_lines(f"Searching {chosen_name}{so_far}; for another: --target {others}"), err=True)
    return chosen.target


def _make_client(url: str | None) -> EmbeddingClient:
    from sidecar.cli.embedding_client import EmbeddingClient
    from sidecar.config import load_settings

    settings = load_settings()
    key = settings.sidecar_api_key
    url = url or settings.sidecar_url
    return EmbeddingClient(url or f"http://127.0.0.1:{settings.bind_port}", key.get_secret_value() if key else None)


def _embed(client: EmbeddingClient, query: str, picture: bytes | None) -> QueryVector:
    """The vector of the picture, else of the text. Warns if the model truncates the text or knows little of it."""
    if picture is None:
        vector = client.embed_text(query)
        if vector.truncated:
            warn("the text is longer than the model reads; only its beginning was searched for")
        if vector.unreadable:
            warn("the model does not know at least half of the text: other words would find the same rows")
        return vector
    try:
        return client.embed_picture(picture)
    except InputError as error:
        message = error.message.removeprefix("`file`: ")
        raise PictureRejected(error.code, f"{query}: {message}\n{_SEARCH_THE_WORDS}") from error


def _check_space(watch: SearchableWatch, vector: QueryVector) -> None:
    """Raises InputError if the query's vector has another length than the table's; warns if its space is another."""
    if watch.dimensions != len(vector.vector):
        raise InputError(
            "wrong_dimensions",
            f"{watch.relation}.{watch.target} holds vectors of {watch.dimensions} dimensions, "
            f"but the service's model {vector.model} makes {len(vector.vector)}.\n"
            "HINT: Name the service that embeds this table: --url http://host:port",
        )
    if watch.fingerprint not in {None, vector.fingerprint}:
        warn(
            f"{watch.relation}.{watch.target} was embedded by {watch.model} ({watch.fingerprint}), but the service "
            f"runs {vector.model} ({vector.fingerprint}): the order of these rows means nothing",
            "Name the service that embeds this table (--url), or embed it again: select sidecar.reembed(…)",
        )


def _probabilities(
    watch: SearchableWatch, vector: QueryVector, kind: str, distances: list[float]
) -> list[float] | None:
    """None unless a text has found pictures, or a picture texts, of the space that the model was trained for."""
    if vector.pair_scale is None or {kind, watch.kind} != {"text", "image"} or watch.fingerprint != vector.fingerprint:
        return None
    return [match_probability(vector.pair_scale, distance) for distance in distances]


def _as_objects(match: Match) -> list[dict[str, object]]:
    found = match.found
    chances: Sequence[float | None] = match.probabilities or [None] * len(found.keys)
    return [
        {
            "key": key,
            "distance": distance,
            "match_probability": chance,
            "row": dict(zip(found.columns, row, strict=True)),
        }
        for key, distance, chance, row in zip(found.keys, found.distances, chances, found.rows, strict=True)
    ]
