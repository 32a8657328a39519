"""The documents of a request: all of them texts, or all of them pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.errors import InputError
from sidecar.http.images import is_image_reference
from sidecar.http.openai.bodies import ImageUrl
from sidecar.http.rerank.bodies import DocumentObject, RerankBody
from sidecar.http.service import RequestLimits
from sidecar.http.texts import check_text


@dataclass(frozen=True, slots=True)
class RerankDocument:
    """A text, or the reference to a picture, under its name in the request."""

    param: str
    value: str
    is_picture: bool


def read_documents(body: RerankBody, limits: RequestLimits) -> list[RerankDocument]:
    """In order, not empty, all of one kind. Raises InputError, naming what is wrong as `documents[3]`."""
    check_document_count(body.documents, "documents", limits)
    documents = [
        _read(document, f"documents[{index}]", body.rank_fields) for index, document in enumerate(body.documents)
    ]
    pictures = [document for document in documents if document.is_picture]
    if pictures and len(pictures) < len(documents):
        other = next(document for document in documents if not document.is_picture)
        message = f"`{other.param}` is a text and `{pictures[0].param}` a picture, whose scores do not compare."
        raise InputError("mixed_documents", f"{message} Send two requests.", other.param)
    if len(pictures) > limits.max_batch_images:
        message = f"`documents` has {len(pictures)} pictures; at most {limits.max_batch_images} (MAX_BATCH_IMAGES)"
        raise InputError("too_many_documents", f"{message} go in a request.", "documents")
    if not pictures:
        check_texts([(document.param, document.value) for document in documents], limits)
    return documents


def check_document_count(documents: Sequence[object], param: str, limits: RequestLimits) -> None:
    """Raises InputError (`empty_list`, `too_many_documents`)."""
    if not documents:
        raise InputError("empty_list", f"`{param}` is empty; send at least one document.", param)
    if len(documents) > limits.max_rerank_documents:
        message = (
            f"`{param}` has {len(documents)} documents; at most {limits.max_rerank_documents} (MAX_RERANK_DOCUMENTS)"
        )
        raise InputError("too_many_documents", f"{message} go in a request.", param)


def check_query(query: str, limits: RequestLimits) -> None:
    """Raises InputError for a query that is not words."""
    if is_image_reference(query):
        message = "`query` is a picture. Pictures can be documents here; to find what resembles one, embed it."
        raise InputError("unsupported_query", message, "query")
    check_text(query, "query", limits)


def check_texts(texts: Sequence[tuple[str, str]], limits: RequestLimits) -> None:
    """`texts` are pairs of a name in the request and the text. Raises InputError for the first that is not good."""
    for param, text in texts:
        check_text(text, param, limits)


def _read(document: str | DocumentObject, param: str, rank_fields: Sequence[str] | None) -> RerankDocument:
    if isinstance(document, str):
        return RerankDocument(param, document, is_image_reference(document))
    if rank_fields is not None:
        return RerankDocument(param, _join_fields(document, param, rank_fields), is_picture=False)
    sources = {name: value for name in ("text", "image", "image_url") if (value := getattr(document, name)) is not None}
    if len(sources) != 1:
        message = (
            f"`{param}` must have one of `text`, `image` and `image_url`; it has {' and '.join(sources) or 'none'}."
        )
        raise InputError("wrong_document", message, param)
    ((name, value),) = sources.items()
    return RerankDocument(param, value.url if isinstance(value, ImageUrl) else value, name != "text")


def _join_fields(document: DocumentObject, param: str, rank_fields: Sequence[str]) -> str:
    fields = document.model_dump()
    for name in rank_fields:
        if not isinstance(fields.get(name), str):
            message = f"`{param}.{name}` must be a string: `rank_fields` names it."
            raise InputError("wrong_type", message, f"{param}.{name}")
    return "\n".join(fields[name] for name in rank_fields)
