"""The log at its most verbose describes requests, but quotes nothing of their contents."""

from __future__ import annotations

import json
import re
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
from PIL import Image

from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

PROGRAM = ("-m", "tests.integration.server.program", "hash")
UVICORN = ("-m", "uvicorn", "--factory", "tests.integration.server.program:make_app", "--port", "{port}")
KEY = "key-of-this-test-0123456789"
WRONG_KEY = "wrong-key-of-this-test-0123"
MARKER = "zanzibar"
TALKATIVE = {"LOG_LEVEL": "DEBUG", "API_KEYS": KEY, "DATABASE_URL": "", "RERANK": "off"}


def picture_that_says(text: str) -> bytes:
    """A picture with `text` in its EXIF data, which Pillow logs at DEBUG."""
    exif = Image.Exif()
    exif[270] = text
    file = BytesIO()
    Image.new("RGB", (40, 40), "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


def send_everything(process: Process) -> list[list[float]]:
    """Sends the marker in every kind of request, and both keys. Returns the vectors of the answers."""
    head = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=process.url, headers=head, timeout=20) as client:
        answers = [
            client.post("/embed/text", json={"text": MARKER}),
            client.post("/embed/image", files={"file": (f"{MARKER}.jpg", picture_that_says(MARKER))}),
        ]
        client.post("/embed/text/batch", json={"texts": [MARKER, ""]})
        client.post("/embed/text", json={MARKER: MARKER})
        client.post("/embed/text", json={"text": [MARKER]})
        client.post("/embed/text", content=f"{MARKER}{{", headers={"Content-Type": "application/json"})
        client.post("/embed/text", content=MARKER, headers={"Content-Type": f"text/{MARKER}"})
        client.post("/embed/image", files={"file": (f"{MARKER}.jpg", MARKER.encode())})
        client.post("/embed/image", files={MARKER: (f"{MARKER}.jpg", MARKER.encode())})
        client.post("/v1/embeddings", json={"input": MARKER, "model": MARKER})
        client.post("/rerank", json={"query": MARKER, "texts": [MARKER]})
        client.get("/status", params={"q": MARKER, "api_key": KEY}, headers={"X-Request-ID": KEY})
        client.get(f"/{KEY}")
        wrong = {"Authorization": f"Bearer {WRONG_KEY}", "X-Forwarded-For": f"::1%{MARKER}"}
        client.post("/embed/text", json={"text": MARKER}, headers=wrong)
        client.get("/nowhere", params={"q": MARKER}, headers={"X-Request-ID": "order-66"})
    return [answer.json()["embedding"] for answer in answers]


def secrets_in(log: str, vectors: list[list[float]]) -> list[str]:
    numbers = [f"{number:.5f}"[:8] for vector in vectors for number in vector[:3]]
    return [word for word in (MARKER, KEY, WRONG_KEY, *numbers) if word in log]


def test_json_lines_describe_a_request_without_its_contents(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, PROGRAM, LOG_FORMAT="json", **TALKATIVE) as process:
        process.await_ready()
        vectors = send_everything(process)
        wait_until(lambda: "order-66" in process.log, lambda: process.log)
        log = process.log
    assert not secrets_in(log, vectors)
    assert "GET /*** 404" in log
    assert "Access denied to 127.0.0.1: invalid_key" in log
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "order-66"]
    assert datetime.fromisoformat(line["ts"]).utcoffset() is not None
    assert 0 < line["duration_ms"] < 20_000
    assert re.fullmatch(r"GET /nowhere 404 \d+\.\d ms", line["message"])
    assert (line["level"], line["logger"]) == ("INFO", "sidecar.http.access_log")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nowhere", 404)
    probes = [line for line in lines if line.get("path") == "/readyz" and line["status"] == 200]
    assert {line["level"] for line in probes} == {"DEBUG"}  # they come every few seconds


def test_lines_under_bare_uvicorn_end_with_the_id_and_have_no_contents_either(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash", **TALKATIVE) as process:
        process.await_ready()
        vectors = send_everything(process)
        wait_until(lambda: "order-66" in process.log, lambda: process.log)
        log = process.log
    assert not secrets_in(log, vectors)
    (line,) = [line for line in log.splitlines() if "order-66" in line]
    assert re.search(r" \| INFO \| sidecar\.http\.access_log \| GET /nowhere 404 .+ ms \[request_id=order-66\]$", line)
    assert "uvicorn.access" not in log
    assert "Access denied to ::1: invalid_key" in log  # uvicorn believes a proxy on this machine


def test_no_contents_of_a_row_are_logged_even_if_postgres_quotes_them(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table notes (id bigint primary key, body text, picture bytea)")
        connection.execute("insert into notes values (1, %s, %s)", [MARKER, picture_that_says(MARKER)])
        connection.execute("insert into notes values (2, %s, %s)", [MARKER * 2, MARKER.encode()])
        connection.execute("select sidecar.watch('notes', source => 'body', target => 'e')")
        connection.execute("select sidecar.watch('notes', source => 'picture', target => 'p')")
        # Its error quotes the whole row in DETAIL.
        connection.execute("alter table notes add check (e is null or id <> 2)")
        with sidecar_process(tmp_path, PROGRAM, LOG_LEVEL="DEBUG", DATABASE_URL=database_url) as process:
            process.await_ready()

            def failures() -> list[str]:
                rows = connection.execute("select reason from sidecar.failures order by reason").fetchall()
                return [reason for (reason,) in rows]

            wait_until(
                lambda: failures() == ["not_a_picture", "write_rejected"], lambda: f"{failures()}\n{process.log}"
            )
            log = process.log
    assert "refuses the vector" in log
    assert not secrets_in(log, [])
