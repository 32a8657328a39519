"""Uploaded files: multipart/form-data bodies with the field `file` once or several times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, WithJsonSchema
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from sidecar.errors import InputError, PictureRejected
from sidecar.http.bodies.body import body_chunks, require_content_type
from sidecar.http.limits import RequestLimits, limited

if TYPE_CHECKING:  # it does not exist at run time
    from python_multipart.multipart import MultipartCallbacks

_MAX_OTHER_PARTS = 1000  # parts that are skipped; a million of them would block the event loop for seconds
_FIELD = b"file"
_EXAMPLE = "curl -F file=@photo.jpg"


_PICTURE = {"type": "string", "contentMediaType": "image/*", "description": "The bytes of a picture file."}
_Binary = Annotated[bytes, WithJsonSchema(_PICTURE)]


# These two only document what the parser below reads.
class FileForm(BaseModel):
    """A form with one picture."""

    file: _Binary


class FilesForm(BaseModel):
    """A form with several pictures, each a field of that name."""

    file: list[_Binary] = Field(json_schema_extra=limited(min_items=1, maxItems="max_batch_images"))


async def read_file(request: Request, limits: RequestLimits) -> bytes:
    """The only uploaded file. Raises InputError for none, several, an empty one, or a malformed body."""
    files = await _read(request, limits, max_files=1, too_many="Send several pictures to /embed/image/batch.")
    _check_not_empty(files[0], "file")
    return files[0]


async def read_files(request: Request, limits: RequestLimits) -> list[bytes]:
    """The uploaded files in order. Raises InputError, which names a bad file as `file[2]`."""
    files = await _read(request, limits, max_files=limits.max_batch_images, too_many="Split the request.")
    for index, file in enumerate(files):
        _check_not_empty(file, f"file[{index}]")
    return files


class _FileCollector:
    """Collects the parts named `file` from the parser's callbacks, and enforces limits while the body arrives."""

    def __init__(self, max_files: int, too_many: str, max_file_bytes: int) -> None:
        self.files: list[bytearray] = []
        self.ended = False
        self._max_files = max_files
        self._too_many = too_many
        self._max_file_bytes = max_file_bytes
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._media_type = b""
        self._collects = False
        self._parts = 0

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._add_content,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > self._max_files + _MAX_OTHER_PARTS:
            raise InputError("too_many_parts", f"The form has over {self._parts - 1} parts; only `file` is read.")
        self._disposition = self._media_type = b""

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        if name.lower() == b"content-type":
            self._media_type = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._collects = options.get(b"name") == _FIELD
        if not self._collects:
            return
        if b"filename" not in options and (not self._media_type or self._media_type.lower().startswith(b"text/")):
            raise InputError("wrong_type", f"`file` must be a file, not a text. Example: {_EXAMPLE}", "file")
        if len(self.files) == self._max_files:
            raise InputError("too_many_files", f"At most {self._max_files} `file` here. {self._too_many}", "file")
        self.files.append(bytearray())

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if not self._collects:
            return
        file = self.files[-1]
        if len(file) + end - start > self._max_file_bytes:
            param = "file" if self._max_files == 1 else f"file[{len(self.files) - 1}]"
            message = f"`{param}` has more than {self._max_file_bytes} bytes. The limit is MAX_IMAGE_BYTES."
            raise PictureRejected("too_many_bytes", message, param)
        file += data[start:end]

    def _end(self) -> None:
        self.ended = True


async def _read(request: Request, limits: RequestLimits, max_files: int, too_many: str) -> list[bytes]:
    require_content_type(request, "multipart/form-data", _EXAMPLE)
    collector = _FileCollector(max_files, too_many, limits.max_image_bytes)
    with _translate_parser_errors():
        _, options = parse_options_header(request.headers["content-type"])
        if not options.get(b"boundary"):
            raise InputError("invalid_multipart", "The Content-Type names no boundary; let your client library set it.")
        parser = MultipartParser(options[b"boundary"], collector.callbacks())
        async for chunk in body_chunks(request, limits.max_body_bytes):
            parser.write(chunk)
        parser.finalize()
    if not collector.ended:
        raise InputError("invalid_multipart", "The body ends before its closing boundary.")
    if not collector.files:
        raise InputError("missing_field", f"The form has no field `file`. Example: {_EXAMPLE}", "file")
    return [bytes(file) for file in collector.files]


@contextmanager
def _translate_parser_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InputError("invalid_multipart", f"The body is not multipart/form-data: {error}") from error


def _check_not_empty(file: bytes, param: str) -> None:
    if not file:
        raise InputError("empty_file", f"`{param}` is empty.", param)
