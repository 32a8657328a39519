"""Identifies what was stored instead of a picture by mistake, with advice on what to store.

Each kind is recognised by its first bytes. A picture encoded as text is decoded far enough to name its format.
"""

from __future__ import annotations

import base64
import binascii
import re

from sidecar.pictures.formats.signatures import detect_format

_HEAD_BYTES = 4096
_BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}$")
_HEX_TEXT = re.compile(rb"(?:\\\\?x|0x)?((?:[0-9a-f]{2}){6,})[0-9a-f]?$", re.IGNORECASE)
_PATH_OR_URL = re.compile(rb"(?:[a-z][a-z0-9+.-]{1,20}://|\.{0,2}/|[A-Z]:\\)[^\s<>\0]{1,2000}$", re.IGNORECASE)
_FILE_NAME = re.compile(rb"[^\0-\x1f<>]{1,2000}\.(?:jpe?g|png|gif|webp|tiff?|bmp|avif|hei[cf])$", re.IGNORECASE)
_MAX_OID_DIGITS = 10
_OCTAL_TEXT = re.compile(rb"(?:\\\d{3}|[ -~]){4,}$")
_FETCH_AGAIN = "Fetch the picture again and store that"
_MARKUP = (
    (
        re.compile(rb"<!doctype html|<(?:html|head|body)\b|<[!?].*<html\b", re.DOTALL),
        "an HTML page, perhaps the error page of a download",
        _FETCH_AGAIN,
    ),
    (re.compile(rb"<"), "an XML document, perhaps the error of a storage service", _FETCH_AGAIN),
    (
        re.compile(rb"--.*content-disposition", re.DOTALL),
        "the body of a form (multipart), not the file in it",
        "Store the file's own bytes",
    ),
    (
        re.compile(rb"""\{\s*"(?:type"\s*:\s*"buffer"|data"\s*:\s*\[)"""),
        "a Buffer of Node.js written as JSON",
        "Hand the Buffer itself to the driver",
    ),
    (re.compile(rb"""[\[{]\s*[\[{"\]}]"""), "JSON, perhaps the error of a download", _FETCH_AGAIN),
    (
        re.compile(rb"\[?\s*\d{1,3}\s*(?:,\s*\d{1,3}\s*){5,}"),
        "the bytes of a file written as numbers",
        "Store the bytes themselves",
    ),
)
_LFS = b"version https://git-lfs.github.com/spec/"

_KINDS = (
    (_LFS, "a Git LFS pointer, not the file that it points to", "Fetch the files (`git lfs pull`) and store those"),
    (b"{\\rtf", "an RTF document", "Store the picture itself"),
    (b"PK\3\4", "a zip archive", "Unpack it, and store the picture that is in it"),
    (b"PK\5\6", "an empty zip archive", "Store the picture itself"),
    (b"\x1f\x8b", "compressed with gzip", "Decompress it, and store the picture itself"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Decompress it, and store the picture itself"),
    (b"BZh", "compressed with bzip2", "Decompress it, and store the picture itself"),
    (b"\xfd7zXZ\0", "compressed with xz", "Decompress it, and store the picture itself"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it, and store the picture that is in it"),
    (b"Rar!\x1a\7", "a RAR archive", "Unpack it, and store the picture that is in it"),
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video", "Store one of its frames as a picture"),
    (b"FLV\1", "a Flash video", "Store one of its frames as a picture"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media video or sound", "Store one of its frames as a picture"),
    (b"\0\0\1\xba", "an MPEG video", "Store one of its frames as a picture"),
    (b"\0\0\1\xb3", "an MPEG video", "Store one of its frames as a picture"),
    (b"fLaC", "a sound (FLAC)", "Store the picture itself"),
    (b"SQLite format 3\0", "an SQLite database", "Store the pictures that are in it"),
    (b"ID3", "a sound (MP3)", "Store the picture itself"),
    (b"OggS", "an Ogg sound or video", "Store the picture itself"),
    (b"\x93NUMPY", "a NumPy array", "Save it as PNG, and store that"),
    (b"\x80\4\x95", "a pickled Python object", "Save the picture as PNG, and store that"),
    (b"\x80\5\x95", "a pickled Python object", "Save the picture as PNG, and store that"),
    (b"HTTP/1.", "a whole HTTP answer with its headers", "Store its body alone"),
    (b"\xef\xbf\xbdPNG", "a PNG whose bytes were read as text, which destroyed them", "Store the file's own bytes"),
    (b"\xc2\x89PNG", "a PNG whose bytes were encoded as if they were text (Latin-1 to UTF-8)", "Store its own bytes"),
    (b"\xef\xbf\xbd\xef\xbf\xbd", "binary data read as text, which destroyed it", "Store the file's own bytes"),
    (b"\xc3\xbf\xc3\x98\xc3\xbf", "a JPEG encoded as if it were text (Latin-1 to UTF-8)", "Store its own bytes"),
    (b"\x89PNG", "a PNG whose line ends were converted, which destroyed it", "Store the file's own bytes"),
)


def identify_non_picture(image: bytes) -> tuple[str, str] | None:
    """What the bytes are and what to do instead, both for an error message; None if they are not recognised."""
    head = image[:_HEAD_BYTES]
    for magic, what, advice in _KINDS:
        if head.startswith(magic):
            return what, advice
    if head.startswith(b"RIFF"):
        return "a sound or a video (WAV or AVI)", "Store the picture itself, or one of its frames"
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "a sound (AIFF)", "Store the picture itself"
    if head[4:8] == b"ftyp":
        return "a video (MP4 or QuickTime)", "Store one of its frames as a picture"
    return _identify_text(head)


def _identify_text(head: bytes) -> tuple[str, str] | None:
    """Identifies text by its content: data URLs, markup, encoded bytes, paths and URLs."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        head = head.decode("utf-16", errors="ignore").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0\"'")
    if text[:5].lower() == b"data:":
        return (
            "a data: URL, which is text",
            "Store what it encodes, in SQL: decode(split_part(convert_from(..., 'UTF8'), ',', 2), 'base64')",
        )
    if text.startswith(b"\xef\xbf\xbd") or text[:2] in (b"b'", b'b"'):
        return "the way in which Python prints bytes", "Store the bytes themselves"
    return _identify_markup(text) or _identify_encoded(text) or _identify_reference(text)


def _identify_markup(text: bytes) -> tuple[str, str] | None:
    start = text[:512].lower()
    for pattern, what, advice in _MARKUP:
        if pattern.match(start):
            return what, advice
    return None


def _identify_encoded(text: bytes) -> tuple[str, str] | None:
    """Bytes written out as text: hexadecimal, base64 or octal, possibly twice."""
    compact = b"".join(text.split())
    if match := _HEX_TEXT.match(compact):
        decoded = bytes.fromhex(match[1].decode("ascii"))
        if text.startswith(b"\\\\") or text[:2] in (b"\\x", b"0x") or _is_recognisable(decoded):
            return (
                f"hexadecimal text{_describe(decoded)}, not the bytes that it represents",
                "Store those, in SQL: decode(regexp_replace(convert_from(..., 'UTF8'), '^[\\\\]+x|^0x', ''), 'hex')",
            )
    elif _BASE64_TEXT.match(compact) and _is_recognisable(decoded := _decode_base64(compact)):
        return (
            f"base64 text{_describe(decoded)}, not the bytes that it represents",
            f"Store those, in SQL: decode({_sql_of_base64(compact)}, 'base64')",
        )
    elif text.startswith(b"\\") and _OCTAL_TEXT.match(text[:64]):
        return "escaped text (\\377 ...), not the bytes that it represents", (
            "Store those, in SQL: decode(convert_from(..., 'UTF8'), 'escape')"
        )
    return None


def _sql_of_base64(compact: bytes) -> str:
    """An SQL expression for the column's text in the base64 alphabet that Postgres decodes."""
    text = "convert_from(..., 'UTF8')"
    return f"translate({text}, '-_', '+/')" if b"-" in compact or b"_" in compact else text


def _decode_base64(compact: bytes) -> bytes:
    whole = compact[: len(compact) // 4 * 4]
    try:
        return base64.b64decode(whole.translate(bytes.maketrans(b"-_", b"+/")))
    except binascii.Error:
        return b""


def _is_recognisable(decoded: bytes) -> bool:
    return detect_format(decoded) is not None or identify_non_picture(decoded) is not None


def _describe(decoded: bytes) -> str:
    name = detect_format(decoded)
    return "" if name is None else f" of a {name} file"


def _identify_reference(text: bytes) -> tuple[str, str] | None:
    """Identifies a number, a path or a URL stored instead of a picture."""
    if text.isdigit() and len(text) <= _MAX_OID_DIGITS:
        return "a number, perhaps that of a large object", "Store its content, in SQL: lo_get(...)"
    if (_PATH_OR_URL.match(text) or _FILE_NAME.match(text)) and b"\n" not in text:
        return "the address of a picture, not the picture", "Store the file at that address"
    return None
