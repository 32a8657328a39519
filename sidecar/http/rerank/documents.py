"""The documents of a rerank request: all texts, or all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.errors import InputError
from sidecar.http.embed.body_parts import ImageUrl
from sidecar.http.embed.texts import check_text
from sidecar.http.images.loader import is_image_reference
from sidecar.http.limits import RequestLimits
from sidecar.http.rerank.bodies import DocumentObject, RerankBody


@dataclass(frozen=True, slots=True)
class RerankDocument:
    """A text, or a reference to a picture; `param` is its name in the request."""

    param: str
    value: str
    is_picture: bool

    @property
    def is_empty(self) -> bool:
        """Whether it is a blank text. Such a document answers no query, but must not fail the others."""
        return not self.is_picture and not self.value.strip()


def read_documents(body: RerankBody, limits: RequestLimits) -> list[RerankDocument]:
    """The documents in order: at least one, and all texts or all pictures, apart from empty ones.

    Raises InputError, naming the document that is wrong.
    """
    if body.texts is not None:
        documents = [RerankDocument(f"texts[{index}]", text, False) for index, text in enumerate(body.texts)]
        _check_count(documents, "texts", limits)
        _refuse_pictures(documents)
    else:
        given = body.documents or []
        _check_count(given, "documents", limits)
        documents = [
            _read_document(document, f"documents[{index}]", body.rank_fields) for index, document in enumerate(given)
        ]
        _check_kinds(documents, limits)
    for document in documents:
        if not document.is_picture and not document.is_empty:
            check_text(document.value, document.param, limits)
    return documents


def check_query(query: str, limits: RequestLimits) -> None:
    """Raises InputError if the query is a picture, or a text that cannot be embedded."""
    if is_image_reference(query):
        message = "`query` is a picture. Pictures can be documents here; to find what resembles one, embed it."
        raise InputError("unsupported_query", message, "query")
    check_text(query, "query", limits)


def _check_count(documents: Sequence[object], param: str, limits: RequestLimits) -> None:
    if not documents:
        raise InputError("empty_list", f"`{param}` is empty; send at least one document.", param)
    if len(documents) > limits.max_rerank_documents:
        message = (
            f"`{param}` has {len(documents)} documents; at most {limits.max_rerank_documents} (MAX_RERANK_DOCUMENTS)"
        )
        raise InputError("too_many_documents", f"{message} go in a request.", param)


def _refuse_pictures(documents: Sequence[RerankDocument]) -> None:
    for document in documents:
        if is_image_reference(document.value):
            message = f"`{document.param}` is a picture; `texts` are texts. Send pictures as `documents`."
            raise InputError("unsupported_documents", message, document.param)


def _check_kinds(documents: Sequence[RerankDocument], limits: RequestLimits) -> None:
    pictures = [document for document in documents if document.is_picture]
    texts = [document for document in documents if not document.is_picture and not document.is_empty]
    if pictures and texts:
        message = f"`{texts[0].param}` is a text and `{pictures[0].param}` a picture, whose scores do not compare."
        raise InputError("mixed_documents", f"{message} Send two requests.", texts[0].param)
    if len(pictures) > limits.max_batch_images:
        message = f"`documents` has {len(pictures)} pictures; at most {limits.max_batch_images} (MAX_BATCH_IMAGES)"
        raise InputError("too_many_documents", f"{message} go in a request.", "documents")


def _read_document(document: str | DocumentObject, param: str, rank_fields: Sequence[str] | None) -> RerankDocument:
    if isinstance(document, str):
        return RerankDocument(param, document, is_image_reference(document))
    if rank_fields is not None:
        return RerankDocument(param, _join_fields(document, param, rank_fields), is_picture=False)
    sources = {name: value for name in ("text", "image", "image_url") if (value := getattr(document, name)) is not None}
    if not sources and "text" in document.model_fields_set:  # null
        return RerankDocument(param, "", is_picture=False)
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
        if name not in fields or not isinstance(fields[name], str | None):
            message = f"`{param}.{name}` must be a string: `rank_fields` names it."
            raise InputError("wrong_type", message, f"{param}.{name}")
    return "\n".join(fields[name] or "" for name in rank_fields)
