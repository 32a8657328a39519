"""`sidecar demo` as a newcomer sees it: the real process, a real Postgres and the real (small) model."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from sidecar.embedded_postgres.cluster import stored_version
from sidecar.embedded_postgres.server import EmbeddedPostgres
from tests.e2e.demo_process import Demo, demo_process, sidecar_command
from tests.e2e.terminal import Terminal
from tests.integration.recipes.page import Page
from tests.named_tests import ROOT
from tests.ports import find_free_port
from tests.servers import open_directory
from tests.waiting import wait_until

NAME = "a lighthouse on a cliff above a stormy sea"


@pytest.fixture(scope="module")
def directory(postgres_version: str) -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def demo(directory: Path, postgres_version: str) -> Iterator[Demo]:
    """A demo on a new directory, shared by all tests. The last test ends it."""
    port = str(find_free_port())  # not the default, which another demo of this machine may have
    with demo_process(directory / "data", "--postgres", postgres_version, "--postgres-port", port) as demo:
        demo.await_ready()
        yield demo


@pytest.fixture
def db(demo: Demo) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(demo.database_url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        yield connection


@contextmanager
def uvicorn(app: str, port: int, directory: Path, **environment: str) -> Iterator[str]:
    """Serves `app` of a program in `directory`; gives its URL once it answers."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(command, cwd=directory, env={**os.environ, **environment}) as process:
        try:
            wait_until(lambda: is_served(port) or process.poll() is not None, f"{app} to answer", timeout_s=20)
            assert process.poll() is None
            yield url
        finally:
            process.terminate()


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def png() -> bytes:
    file = BytesIO()
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def search(db: psycopg.Connection[tuple[Any, ...]], target: str, vector: list[float]) -> tuple[Any, ...]:
    """The first row that the documented query finds."""
    row = db.execute("select query from sidecar.status where target = $1", [target]).fetchone()
    assert row is not None
    found = db.execute(row[0].encode(), [str(vector)]).fetchone()
    assert found is not None
    return found


def embed(demo: Demo, path: str, **request: Any) -> list[float]:
    answer = httpx.post(f"{demo.service_url}{path}", timeout=30, **request)
    assert answer.status_code == 200, answer.text
    vector: list[float] = answer.json()["embedding"]
    assert len(vector) == answer.json()["dim"] == 1152
    return vector


def test_every_row_is_embedded_when_the_demo_reports_it(db: psycopg.Connection[tuple[Any, ...]]) -> None:
    query = "select count(*) > 1800, count(*) = count(name_embedding), count(*) = count(picture_embedding) from emoji"
    assert db.execute(query).fetchone() == (True, True, True)


def test_it_prints_its_steps_and_a_note_on_the_models_quality(
    demo: Demo, db: psycopg.Connection[tuple[Any, ...]], postgres_version: str
) -> None:
    assert db.info.server_version // 10000 == int(postgres_version)
    steps, _, rest = demo.output.partition("\n\n")
    assert all(
        word in steps
        for word in (f"Postgres {postgres_version}", "Schema `sidecar`", "emoji", "Model loaded", "serving")
    )
    assert all(line.split()[1] == "s" for line in steps.splitlines()), steps
    assert "it knows little\nelse, least of all photographs" in rest
    assert "sidecar migrate && " in rest
    assert "All rows embedded: 3,688 vectors" in rest
    assert "Traceback" not in demo.output


def test_an_inserted_text_is_found_by_the_same_text(demo: Demo, db: psycopg.Connection[tuple[Any, ...]]) -> None:
    (key,) = db.execute(
        "insert into emoji (name) values ($1) returning jsonb_build_object('id', id)", [NAME]
    ).fetchall()[0]
    db.execute("call sidecar.wait_embedded('emoji', $1, timeout_ms => 20000)", [Jsonb(key)])
    assert search(db, "name_embedding", embed(demo, "/embed/text", json={"text": NAME}))[0] == key["id"]


def test_an_inserted_picture_is_found_by_the_same_picture(demo: Demo, db: psycopg.Connection[tuple[Any, ...]]) -> None:
    (key,) = db.execute(
        "insert into emoji (picture) values ($1) returning jsonb_build_object('id', id)", [png()]
    ).fetchall()[0]
    db.execute("call sidecar.wait_embedded('emoji', $1, timeout_ms => 20000)", [Jsonb(key)])
    assert search(db, "picture_embedding", embed(demo, "/embed/image", files={"file": png()}))[0] == key["id"]


def test_the_three_printed_commands_work_as_printed(demo: Demo, tmp_path: Path) -> None:
    env, *commands = demo.commands
    assert env == f". {demo.env_file}"
    assert len(commands) == 2
    searched, alike = (
        subprocess.run(["/bin/sh", "-c", f"{env}\n{command}"], cwd=tmp_path, capture_output=True, text=True, check=True)
        for command in commands
    )
    assert "crying cat" in searched.stdout
    assert "😿" in searched.stdout
    assert "Searching emoji.picture_embedding" in searched.stderr
    assert alike.stdout.splitlines()[2].split("|")[1].strip() == "octopus"
    assert alike.stderr == ""


def test_the_address_for_a_browser_shows_the_console(demo: Demo) -> None:
    address = demo.output.partition("In a browser: ")[2].splitlines()[0]
    answer = httpx.get(address, headers={"Accept": "text/html"}, follow_redirects=True, timeout=30)
    assert (answer.status_code, answer.url.path) == (200, "/")
    assert '<div id="console">' in answer.text


def test_the_readmes_table_of_your_own_is_searched_as_written(demo: Demo, tmp_path: Path) -> None:
    readme = Page(str(ROOT / "README.md"), tmp_path, demo.database_url, demo.service_url)
    readme.follow(below="## Your own table", until="```sh\npython search.py")
    readme.run("sidecar status food --follow --until-embedded")
    printed = readme.run('python search.py "pot of tea"')
    assert len(printed.splitlines()) == 5
    assert printed.startswith("teapot\n")
    readme.run('psql "$DATABASE_URL" -c "drop table food"')


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_tutorial_works_as_written(demo: Demo, tmp_path: Path) -> None:
    port = find_free_port()
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").replace("8000", str(port))
    (tmp_path / "mine.png").write_bytes(png())
    (tmp_path / "tutorial.md").write_text(text, encoding="utf-8")
    page = Page(str(tmp_path / "tutorial.md"), tmp_path, demo.database_url, demo.service_url)
    page.follow(below="## 1.", until="```sh\npython -m uvicorn")
    with uvicorn("shop:app", port, tmp_path, DATABASE_URL=demo.database_url, SIDECAR_URL=demo.service_url) as url:
        page.follow(below="What it finds can be read", until="## Where next")
        hostile = httpx.get(url, params={"q": "<script>alert(1)</script>", "shelf": '"><b>'}).text
        assert "<script>" not in hostile
        assert "<b>" not in hostile
        assert httpx.get(url, params={"like": "0"}).status_code == 200
        assert httpx.get(url, params={"q": "!!!"}).status_code == 200
        assert httpx.get(f"{url}/photo/0").status_code == 404
    page.run('psql "$DATABASE_URL" -c "drop table products"')


@pytest.mark.parametrize(
    ("path", "request_", "status", "code"),
    [
        ("/embed/text", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        ("/embed/text", {"json": {"text": " "}}, 422, "empty_text"),
        ("/embed/image", {"files": {"file": b"hello"}}, 422, "not_a_picture"),
        ("/embed/image", {"files": {"file": png()[:-200]}}, 422, "truncated_picture"),
    ],
)
def test_bad_input_gets_a_4xx_with_a_reason(
    demo: Demo, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    answer = httpx.post(f"{demo.service_url}{path}", timeout=30, **request_)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_only_its_owner_can_read_the_password(demo: Demo) -> None:
    for name in ("database_url", "env"):
        assert stat.S_IMODE((demo.data_dir / name).stat().st_mode) == 0o600
    password = demo.database_url.partition("postgres:")[2].partition("@")[0]
    assert len(password) > 20
    assert password not in demo.output


def test_a_second_demo_on_the_same_directory_is_refused(demo: Demo) -> None:
    command = [sidecar_command(), "demo", "--data-dir", str(demo.data_dir), "--port", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"is already running on {demo.data_dir}.\nHINT:" in ended.stderr


def test_a_second_demo_on_the_same_port_is_refused(demo: Demo, directory: Path) -> None:
    command = [sidecar_command(), "demo", "--data-dir", str(directory / "other"), "--port", str(demo.port)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"port {demo.port} of 127.0.0.1 is in use" in ended.stderr
    assert "HINT: Choose another: sidecar demo --port" in ended.stderr


def test_fresh_asks_nobody_while_a_demo_runs(demo: Demo) -> None:
    command = [sidecar_command(), "demo", "--data-dir", str(demo.data_dir), "--port", "1", "--fresh", "--yes"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "is already running" in ended.stderr


def test_it_leaves_no_process_behind_and_starts_again_with_its_data(demo: Demo, postgres_version: str) -> None:
    """With Ctrl-C and SIGTERM."""
    with psycopg.connect(demo.database_url, autocommit=True) as connection:
        connection.execute("update emoji set category = 'mine' where id = 3")
        connection.execute("delete from emoji where id > 10000")
    url, env = demo.database_url, demo.env_file.read_text()
    assert demo.end(signal.SIGINT) == 0
    assert demo.output.endswith(f"Stopped. The data stays in {demo.data_dir}.\n")

    with demo_process(demo.data_dir) as again:
        again.await_ready()
        assert f"Postgres {postgres_version}" in again.output, "not the directory's version"
        assert "(as the last run left it)" in again.output
        assert "--fresh" not in again.output
        assert again.database_url == url
        assert again.env_file.read_text() == env.replace(f":{demo.port}\n", f":{again.port}\n")
        with psycopg.connect(again.database_url) as connection:
            assert connection.execute("select category from emoji where id = 3").fetchone() == ("mine",)
        assert again.end(signal.SIGTERM) == 0


def test_fresh_deletes_what_the_demo_did_not_make_only_if_told_so(directory: Path) -> None:
    """In the directory that the test before has left. SIGKILL leaves no process behind."""
    data_dir = directory / "data"
    version = stored_version(data_dir / "postgres") or ""
    with (
        EmbeddedPostgres(data_dir / "postgres", version) as postgres,
        psycopg.connect(postgres.url, autocommit=True) as connection,
    ):
        connection.execute("create database shop")
    command = [sidecar_command(), "demo", "--data-dir", str(data_dir), "--port", str(find_free_port()), "--fresh"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert refused.returncode == 1
    assert refused.stderr.startswith("ERROR: --fresh would delete what the demo did not make, ")
    assert "\n  database shop (" in refused.stderr
    assert "HINT: " in refused.stderr

    url = (data_dir / "database_url").read_text().strip()
    for answer, mine, shops in (("--no", 0, 1), ("--yes", 0, 0)):
        with demo_process(data_dir, "--fresh", answer) as fresh:
            fresh.await_postgres()
            assert fresh.database_url == url
            with psycopg.connect(url) as connection:
                rows = connection.execute("select count(*) from emoji where category = 'mine'").fetchone()
                databases = connection.execute("select count(*) from pg_database where datname = 'shop'").fetchone()
            assert (rows, databases) == ((mine,), (shops,))
            assert fresh.end(signal.SIGKILL) == -signal.SIGKILL


def test_on_a_terminal_fresh_asks_and_no_deletes_nothing(directory: Path) -> None:
    """A row of somebody's is in the example that the test before has left."""
    postgres_dir = directory / "data" / "postgres"
    with (
        EmbeddedPostgres(postgres_dir, stored_version(postgres_dir) or "") as postgres,
        psycopg.connect(postgres.url) as connection,
    ):
        connection.execute("insert into emoji (name) values ('mine')")
    port = str(find_free_port())
    command = [sidecar_command(), "demo", "--data-dir", str(directory / "data"), "--port", port, "--fresh"]
    with Terminal(command) as terminal:
        terminal.await_output("1 row in emoji with an id from 10001 on")
        terminal.await_output("Delete all of it as well?")
        terminal.type("n\n")
        assert terminal.await_end() == 1
    assert "nothing was deleted" in terminal.output
