"""Non-pictures stored by mistake are identified, and the error message says what to do."""

from __future__ import annotations

import base64

import pytest

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.files import write_heic
from tests.unit.pictures.pictures import encode, make_picture

PICTURE = make_picture(32, 24)
JPEG, PNG = encode(PICTURE, "JPEG"), encode(PICTURE, "PNG")
HEX, BASE64 = JPEG.hex().encode(), base64.b64encode(JPEG)


def reject(image: bytes) -> PictureRejected:
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, 1_000_000)
    return caught.value


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_base64_text_names_the_format_and_the_sql(picture_format: str) -> None:
    image = write_heic(PICTURE) if picture_format == "HEIC" else encode(PICTURE, picture_format)

    error = reject(base64.b64encode(image))

    assert error.code == "not_a_picture"
    assert f"are base64 text of a {picture_format.replace('WEBP', 'WebP')} file" in error.message
    assert "in SQL: decode(convert_from(..., 'UTF8'), 'base64')" in error.message


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(JPEG),
        b'"' + BASE64 + b'"',
        b"  " + BASE64 + b"\r\n",
        BASE64.rstrip(b"="),
        b"\xef\xbb\xbf" + BASE64,
    ],
    ids=["in lines", "in quotation marks", "with blanks", "without padding", "with a byte order mark"],
)
def test_base64_text_is_recognised_in_any_layout(text: bytes) -> None:
    assert "base64 text of a JPEG file" in reject(text).message


def test_base64_in_the_alphabet_of_urls_is_translated() -> None:
    image = encode(PICTURE, "PNG")
    assert set(base64.urlsafe_b64encode(image)) & set(b"-_")

    message = reject(base64.urlsafe_b64encode(image)).message

    assert "decode(translate(convert_from(..., 'UTF8'), '-_', '+/'), 'base64')" in message


@pytest.mark.parametrize("text", [b"\\x" + HEX, b"\\\\x" + HEX, b"0x" + HEX, HEX, HEX.upper()], ids=range(5))
def test_hexadecimal_text_names_the_format_and_the_sql(text: bytes) -> None:
    error = reject(text)

    assert error.code == "not_a_picture"
    assert "are hexadecimal text of a JPEG file" in error.message
    assert "'hex')" in error.message


MISTAKES = {
    b"data:image/jpeg;base64," + BASE64: "a data: URL, which is text",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "git lfs pull",
    b"\n<!DOCTYPE html><html><body>404</body></html>": "an HTML page, perhaps the error page of a download",
    b"<html>": "an HTML page",
    b'<?xml version="1.0"?><!DOCTYPE html><html xmlns=""/>': "an HTML page",
    "<html>".encode("utf-16"): "an HTML page",
    b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>': "an XML document",
    b'{"error": "not found"}': "JSON, perhaps the error of a download",
    b'[{"a": 1}]': "JSON",
    b'{"type":"Buffer","data":[255,216]}': "a Buffer of Node.js",
    b"[255, 216, 255, 224, 0, 16, 74, 70]": "written as numbers",
    b"255,216,255,224,0,16,74,70": "written as numbers",
    repr(JPEG).encode(): "the way in which Python prints bytes",
    b"\\377\\330\\377\\340\\000\\020JFIF": "escaped text",
    JPEG.decode("latin-1").encode(): "a JPEG encoded as if it were text",
    PNG.decode("latin-1").encode(): "encoded as if they were text",
    JPEG.decode(errors="replace").encode(): "read as text, which destroyed it",
    PNG.decode(errors="replace").encode(): "read as text, which destroyed them",
    PNG.replace(b"\r\n", b"\n"): "line ends were converted",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom": "a video (MP4 or QuickTime)",
    b"\0\0\0\x14ftypqt  \0\0\0\0qt  ": "a video (MP4 or QuickTime)",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(20): "a Windows Media video",
    b"\0\0\1\xba\x21" + bytes(20): "an MPEG video",
    b"\0\0\1\xb3\x0b" + bytes(20): "an MPEG video",
    b"FORM\0\x29\xba\xb8AIFFCOMM": "a sound (AIFF)",
    b"fLaC" + bytes(20): "a sound (FLAC)",
    b"SQLite format 3\0" + bytes(20): "an SQLite database",
    b"\x1a\x45\xdf\xa3" + bytes(20): "a WebM or Matroska video",
    b"RIFF\x24\0\0\0WAVEfmt ": "a sound or a video",
    b"PK\3\4" + bytes(20): "a zip archive",
    b"\x1f\x8b\x08" + bytes(20): "compressed with gzip",
    b"\x28\xb5\x2f\xfd" + bytes(20): "compressed with zstd",
    b"\x80\4\x95" + bytes(20): "a pickled Python object",
    b"\x93NUMPY\1\0": "a NumPy array",
    b"https://example.com/a.jpg": "the address of a picture",
    b"s3://bucket/a.png": "the address of a picture",
    b"/srv/pictures/a": "the address of a picture",
    b"pictures/a b.JPG": "the address of a picture",
    b"C:\\pictures\\a.png": "the address of a picture",
    b"16405": "lo_get(",
    b'------Boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JPEG: "the body of a form",
    b"HTTP/1.1 200 OK\r\n\r\n" + JPEG: "a whole HTTP answer",
    base64.b64encode(BASE64): "base64 text, not the bytes",
    b"\\x" + (b"\\x" + HEX).hex().encode(): "hexadecimal text, not the bytes",
}


@pytest.mark.parametrize(("image", "expected"), MISTAKES.items(), ids=MISTAKES.values())
def test_other_non_pictures_are_identified(image: bytes, expected: str) -> None:
    error = reject(image)

    assert error.code == "not_a_picture"
    assert expected in error.message
    assert error.message.startswith(f"The {len(image):,} bytes are ")
    assert error.message.isascii(), "a database in LATIN1 has to store it"
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    "image",
    [
        b"<svg/>",
        b"\xef\xbb\xbf<svg/>",
        b'<?xml version="1.0"?>\n<!-- drawn by hand --><!DOCTYPE svg PUBLIC "a" "b">\n<svg xmlns="c"/>',
        b'<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>',
    ],
    ids=range(4),
)
def test_an_svg_is_named_whatever_precedes_its_first_element(image: bytes) -> None:
    error = reject(image)

    assert error.code == "unsupported_format"
    assert error.message.startswith("SVG pictures are not read; convert it to JPEG, PNG")


@pytest.mark.parametrize(
    "image",
    [b"hello, world", b"GI", b"A description of a picture, in words.", b"abcdefghijklmnopqrstuvwxyz", b"\0" * 100],
    ids=range(5),
)
def test_the_beginning_of_unknown_bytes_is_quoted(image: bytes) -> None:
    assert f"are not a picture (they begin with {image[:12]!r})" in reject(image).message
