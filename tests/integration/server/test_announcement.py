"""What `serve` says of itself: model, database and address, in three lines and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.server.process import Process, sidecar_process
from tests.ports import find_free_port
from tests.waiting import wait_until

PROGRAM = ("-m", "tests.integration.server.program", "hash")
UVICORN = ("-m", "uvicorn", "--factory", "tests.integration.server.program:make_app", "--port", "{port}")
PLAIN = {"LOG_FORMAT": "%(levelname)s %(message)s", "RERANK": "off"}


def announced(process: Process) -> list[str]:
    """The lines of the log up to the address, which comes last."""
    wait_until(lambda: "documentation at" in process.log, lambda: process.log, timeout_s=30)
    return process.log.splitlines()


def test_serve_announces_model_database_and_address_in_three_lines(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table notes (id bigint primary key, body text)")
        connection.execute("insert into notes select i, 'note ' || i from generate_series(1, 3) i")
        connection.execute("select sidecar.watch('notes', source => 'body', target => 'e')")
        name = connection.info.dbname
        host = f"{connection.info.host}:{connection.info.port}"
    with sidecar_process(tmp_path, PROGRAM, DATABASE_URL=database_url, INGEST="0", **PLAIN) as process:
        model, database, address = announced(process)
    assert model == "INFO Model hash, 1152 dimensions"
    assert (
        database == f"INFO Database {name} at {host}: 1 watch, 3 rows pending; INGEST=0, so other sidecars embed them"
    )
    assert address == f"INFO Serving {process.url}, documentation at {process.url}/docs"


def test_the_three_lines_are_events_with_fields_in_a_log_of_json(tmp_path: Path, database_url: str) -> None:
    with sidecar_process(tmp_path, PROGRAM, DATABASE_URL=database_url, LOG_FORMAT="json", ROOT_PATH="/s") as process:
        model, database, address = map(json.loads, announced(process))
    assert (model["event"], model["model"], model["dimensions"]) == ("model", "hash", 1152)
    assert (database["event"], database["watches"], database["pending"]) == ("database", 0, 0)
    assert (address["event"], address["urls"]) == ("address", [f"{process.url}/s"])
    assert address["docs"] == f"{process.url}/s/docs"


def test_bare_uvicorn_announces_model_and_database_too(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash", DATABASE_URL="", **PLAIN) as process:
        process.await_ready()
        wait_until(lambda: "INFO No database: DATABASE_URL is not set" in process.log, lambda: process.log)
        assert "INFO Model hash" in process.log


def test_at_debug_libraries_tell_of_their_start(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, PROGRAM, DATABASE_URL="", LOG_LEVEL="DEBUG", **PLAIN) as process:
        assert "INFO Application startup complete." in announced(process)


def test_a_database_that_is_down_or_not_migrated_is_announced_as_such(tmp_path: Path, plain_database_url: str) -> None:
    down = f"postgresql://me:hunter2@127.0.0.1:{find_free_port()}/shop"
    for url, says in ((down, "not reachable yet"), (plain_database_url, "not migrated yet (sidecar migrate)")):
        with sidecar_process(tmp_path, PROGRAM, DATABASE_URL=url, **PLAIN) as process:
            lines = announced(process)
        assert [line for line in lines if line.startswith("INFO Database ") and says in line], lines
        assert "hunter2" not in process.log


@pytest.mark.parametrize("program", [PROGRAM, UVICORN])
def test_a_misspelt_variable_is_warned_about(tmp_path: Path, program: tuple[str, ...]) -> None:
    wrong = {"VISON_MODEL_ID": "demo", "PGDATABSE": "shop", "SIDECAR_TEST_ENCODER": "hash", "DATABASE_URL": ""}
    with sidecar_process(tmp_path, program, **wrong, **PLAIN) as process:
        process.await_ready()
        warnings = [line for line in process.log.splitlines() if line.startswith("WARNING")]
    assert warnings == ["WARNING VISON_MODEL_ID is not a setting: did you mean VISION_MODEL_ID?"]


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_the_log_says_what_runs_the_model_and_warns_of_an_export_that_is_not_used(tmp_path: Path, backend: str) -> None:
    export = {"ENCODER_BACKEND": backend, "EXPORT_DIR": "/exports/x"}
    with sidecar_process(tmp_path, PROGRAM, DATABASE_URL="", **export, **PLAIN) as process:
        lines = announced(process)
    warning = "WARNING EXPORT_DIR is set, but ENCODER_BACKEND is torch: PyTorch runs the model, not the export."
    assert (warning in lines) is (backend == "torch")
    assert ("INFO Model hash, 1152 dimensions, run by onnx from /exports/x" in lines) is (backend == "onnx")
