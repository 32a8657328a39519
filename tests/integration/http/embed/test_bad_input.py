"""Invalid requests to `/embed/…`: the status and the whole body of each error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture, pixel_bomb

JSON = {"content-type": "application/json"}
BOUNDARY = {"content-type": "multipart/form-data; boundary=cut"}


BAD_TEXTS: dict[str, tuple[bytes, int, str, str, str | None]] = {
    "not JSON": (b"text=hello", 400, "invalid_json", "The body is not JSON: ", None),
    "nothing": (b"", 400, "invalid_json", "The body is not JSON: ", None),
    "half of it": (b'{"text": "a', 400, "invalid_json", "The body is not JSON: ", None),
    "invalid UTF-8": (b'{"text": "\xff"}', 400, "invalid_json", "The body is not JSON: ", None),
    "a lone surrogate": (rb'{"text": "\ud800"}', 400, "invalid_json", "The body is not JSON: ", None),
    "a surrogate in UTF-8": (b'{"text": "\xed\xa0\x80"}', 400, "invalid_json", "The body is not JSON: ", None),
    "nested too deep": (
        b'{"text":' + b"[" * 5000 + b"]" * 5000 + b"}",
        400,
        "invalid_json",
        "The body is not JSON",
        None,
    ),
    "not a number": (b'{"text": NaN}', 400, "invalid_json", "The body is not JSON: ", None),
    "a list": (b'["text"]', 422, "wrong_type", "The body must be an object, not a list.", None),
    "a number": (b"3", 422, "wrong_type", "The body must be an object, not a number.", None),
    "null": (b"null", 422, "wrong_type", "The body must be an object, not null.", None),
    "no field": (b"{}", 422, "missing_field", "The body has no field `text`.", "text"),
    "the batch's field": (b'{"texts": ["a"]}', 422, "missing_field", "The body has no field `text`.", "text"),
    "a number as text": (b'{"text": 3}', 422, "wrong_type", "`text` must be a string, not a number.", "text"),
    "null as text": (b'{"text": null}', 422, "wrong_type", "`text` must be a string, not null.", "text"),
    "a list as text": (b'{"text": ["a"]}', 422, "wrong_type", "`text` must be a string, not a list.", "text"),
    "an object as text": (b'{"text": {}}', 422, "wrong_type", "`text` must be a string, not an object.", "text"),
    "a boolean as text": (b'{"text": true}', 422, "wrong_type", "`text` must be a string, not a boolean.", "text"),
    "an empty text": (b'{"text": ""}', 422, "empty_text", "`text` is empty;", "text"),
    "a blank text": (b'{"text": " \\n\\u00a0"}', 422, "empty_text", "`text` is empty;", "text"),
    "NUL in a text": (b'{"text": "a\\u0000b"}', 422, "invalid_text", "`text` contains the character NUL", "text"),
    "a long text": (
        b'{"text": "%s"}' % (b"x" * 201),
        422,
        "text_too_long",
        "`text` has 201 characters; at most 200",
        "text",
    ),
    "a large body": (b'{"text": "%s"}' % (b"x" * 20_000), 413, "body_too_large", "The body has more than 20000", None),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
async def test_a_bad_text_is_rejected_with_the_reason(client: httpx.AsyncClient, case: str) -> None:
    body, status, code, message, param = BAD_TEXTS[case]
    assert_error(await client.post("/embed/text", content=body, headers=JSON), status, code, message, param)


BAD_BATCHES: dict[str, tuple[Any, str, str, str]] = {
    "no field": ({"text": "a"}, "missing_field", "The body has no field `texts`.", "texts"),
    "a string": ({"texts": "a"}, "wrong_type", "`texts` must be a list of strings, not a string.", "texts"),
    "none": ({"texts": []}, "empty_list", "`texts` is empty; send at least one text.", "texts"),
    "too many": ({"texts": ["a"] * 5}, "too_many_texts", "`texts` has 5 texts; at most 4", "texts"),
    "one number": ({"texts": ["a", 3]}, "wrong_type", "`texts[1]` must be a string, not a number.", "texts[1]"),
    "one null": ({"texts": ["a", "b", None]}, "wrong_type", "`texts[2]` must be a string, not null.", "texts[2]"),
    "one blank": ({"texts": ["a", "b", " "]}, "empty_text", "`texts[2]` is empty;", "texts[2]"),
    "one with NUL": ({"texts": ["a\0"]}, "invalid_text", "`texts[0]` contains the character NUL", "texts[0]"),
    "one too long": ({"texts": ["a", "b" * 201]}, "text_too_long", "`texts[1]` has 201 characters", "texts[1]"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
async def test_a_bad_batch_is_rejected_with_the_name_of_the_bad_text(client: httpx.AsyncClient, case: str) -> None:
    body, code, message, param = BAD_BATCHES[case]
    assert_error(await client.post("/embed/text/batch", json=body), 422, code, message, param)


@pytest.mark.parametrize("declared", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("path", ["/embed/text", "/embed/text/batch"])
async def test_a_text_with_another_content_type_is_rejected(
    client: httpx.AsyncClient, path: str, declared: str | None
) -> None:
    headers = {"content-type": declared} if declared else {}
    response = await client.post(path, content=b'{"text": "a"}', headers=headers)
    assert_error(response, 415, "unsupported_media_type", "The body must be application/json, the request has ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed/text", {"text": "a"}),
        ("/embed/text/batch", {"texts": ["a"]}),
        ("/v1/embeddings", {"input": "a"}),
    ],
)
async def test_a_byte_order_mark_before_json_is_skipped(
    client: httpx.AsyncClient, path: str, body: dict[str, object]
) -> None:
    headers = {"Content-Type": "application/json"}
    marked = await client.post(path, content=b"\xef\xbb\xbf" + json.dumps(body).encode(), headers=headers)
    plain = await client.post(path, json=body)
    assert (marked.status_code, marked.json()) == (200, plain.json())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_json_in_another_encoding_is_rejected_with_a_hint(client: httpx.AsyncClient, encoding: str) -> None:
    headers = {"Content-Type": f"application/json; charset={encoding}"}
    answer = await client.post("/embed/text", content='{"text": "a"}'.encode(encoding), headers=headers)
    assert_error(answer, 400, "invalid_json", "The body is not JSON: ")
    assert "send UTF-8" in answer.json()["error"]["message"]


async def test_a_charset_in_the_content_type_is_accepted(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await client.post("/embed/text", content=b'{"text": "a"}', headers=headers)).status_code == 200


BAD_PICTURES: dict[str, tuple[bytes, int, str, str]] = {
    "an empty file": (b"", 422, "empty_file", "`file` is empty."),
    "not a picture": (b"hello, I am a text", 422, "not_a_picture", "`file`: "),
    "a truncated picture": (picture(size=(400, 400), kind="JPEG")[:-200], 422, "truncated_picture", "`file`: "),
    "a pixel bomb": (pixel_bomb(60_000, 60_000), 422, "too_many_pixels", "`file`: "),
    "an unsupported format": (b"<svg/>", 415, "unsupported_format", "`file`: "),
    "a large picture": (b"x" * 8_001, 413, "too_many_bytes", "`file` has more than 8000 bytes."),
    "a large body": (b"x" * 20_001, 413, "body_too_large", "The body has more than 20000 bytes."),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
async def test_a_bad_picture_is_rejected_with_the_reason(client: httpx.AsyncClient, case: str) -> None:
    content, status, code, message = BAD_PICTURES[case]
    response = await client.post("/embed/image", files={"file": ("photo.jpg", content)})
    assert_error(response, status, code, message, None if code == "body_too_large" else "file")


@pytest.mark.parametrize("case", [case for case in BAD_PICTURES if case != "a large body"])
async def test_one_bad_picture_fails_the_batch_and_is_named(client: httpx.AsyncClient, case: str) -> None:
    content, status, code, message = BAD_PICTURES[case]
    files = [("file", ("0.png", picture())), ("file", ("1.png", picture("blue"))), ("file", ("2.png", content))]
    response = await client.post("/embed/image/batch", files=files)
    assert_error(response, status, code, message.replace("`file`", "`file[2]`"), "file[2]")


BAD_FORMS: dict[str, tuple[bytes, int, str, str, str | None]] = {
    "no parts": (b"--cut--\r\n", 422, "missing_field", "The form has no field `file`.", "file"),
    "another field": (
        b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nx\r\n--cut--\r\n',
        *(422, "missing_field", "The form has no field `file`.", "file"),
    ),
    "a text instead of a file": (
        b'--cut\r\nContent-Disposition: form-data; name="file"\r\n\r\nphoto.jpg\r\n--cut--\r\n',
        *(422, "wrong_type", "`file` must be a file, not a text.", "file"),
    ),
    "cut off": (
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nx',
        *(400, "invalid_multipart", "The body ends before its closing boundary.", None),
    ),
    "empty": (b"", 400, "invalid_multipart", "The body ends before its closing boundary.", None),
    "not multipart": (b"{}", 400, "invalid_multipart", "The body is not multipart/form-data: ", None),
    "another boundary": (
        b"--other\r\n\r\n--other--",
        400,
        "invalid_multipart",
        "The body is not multipart/form-",
        None,
    ),
}


@pytest.mark.parametrize("path", ["/embed/image", "/embed/image/batch"])
@pytest.mark.parametrize("case", BAD_FORMS)
async def test_a_bad_form_is_rejected_with_the_reason(client: httpx.AsyncClient, path: str, case: str) -> None:
    body, status, code, message, param = BAD_FORMS[case]
    assert_error(await client.post(path, content=body, headers=BOUNDARY), status, code, message, param)


async def test_a_form_without_a_boundary_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/embed/image", content=b"--x--", headers={"content-type": "multipart/form-data"})
    assert_error(response, 400, "invalid_multipart", "The Content-Type names no boundary;")


@pytest.mark.parametrize("declared", [None, "image/png", "application/json", "application/x-www-form-urlencoded"])
async def test_a_picture_with_another_content_type_is_rejected(client: httpx.AsyncClient, declared: str | None) -> None:
    headers = {"content-type": declared} if declared else {}
    response = await client.post("/embed/image", content=picture(), headers=headers)
    assert_error(response, 415, "unsupported_media_type", "The body must be multipart/form-data, the request has ")


async def test_several_pictures_are_referred_to_the_batch_endpoint(client: httpx.AsyncClient) -> None:
    files = [("file", ("0.png", picture())), ("file", ("1.png", picture()))]
    message = "At most 1 `file` here. Send several pictures to /embed/image/batch."
    assert_error(await client.post("/embed/image", files=files), 422, "too_many_files", message, "file")


async def test_too_many_pictures_are_rejected(client: httpx.AsyncClient) -> None:
    files = [("file", ("0.png", b"x"))] * 33
    response = await client.post("/embed/image/batch", files=files)
    assert_error(response, 422, "too_many_files", "At most 32 `file` here. Split the request.", "file")


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1000

    response = await client.post("/embed/text", content=endless(), headers=JSON)
    assert_error(response, 413, "body_too_large", "The body has more than 20000 bytes.")
    assert sent == 21 + 41  # read up to the limit, then discarded so that the client sees the response


async def test_a_body_declared_far_too_large_is_not_read(client: httpx.AsyncClient) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"x" * 40_001

    headers = {**JSON, "content-length": "40001"}
    response = await client.post("/embed/text", content=body(), headers=headers)
    assert_error(response, 413, "body_too_large", "The body has more than 20000 bytes.")
    assert sent == 0


async def test_a_body_larger_than_declared_is_cut_off(client: httpx.AsyncClient) -> None:
    response = await client.post("/embed/text", content=b"x" * 30_000, headers={**JSON, "content-length": "10"})
    assert_error(response, 413, "body_too_large", "The body has more than 20000 bytes.")


@pytest.mark.parametrize("path", ["/nothing", "/embed/text//", "/healthz//", "/../etc/passwd", "/%00"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert_error(await client.get(path), 404, "not_found", "There is nothing at ")


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/embed/text", "POST"), ("DELETE", "/healthz", "GET")])
async def test_another_method_is_rejected_with_the_allowed_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)
    assert_error(response, 405, "method_not_allowed", f"{path} answers ")
    assert allowed in response.headers["allow"]
    assert allowed in response.json()["error"]["message"]


async def test_a_text_of_unicode_blanks_is_rejected(serving: Serving) -> None:
    async with serving() as client:
        response = await client.post("/embed/text/batch", json={"texts": ["a", "\u2003\u200a"]})
    assert_error(response, 422, "empty_text", "`texts[1]`", "texts[1]")
