"""The exit of the process: in order, in time, and with a meaningful exit code."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

LOADED_MACHINE_S = 3  # to end an interpreter beside others
UVICORN = ("-m", "uvicorn", "--factory", "tests.integration.server.program:make_app", "--port", "{port}")


def serving(directory: Path, encoder: str, **environment: str) -> AbstractContextManager[Process]:
    return sidecar_process(directory, ("-m", "tests.integration.server.program", encoder), **environment)


def embed(process: Process, text: str) -> httpx.Response:
    return httpx.post(f"{process.url}/embed/text", json={"text": text}, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_shuts_down_in_order_with_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "hash") as process:
        process.await_ready()
        process.stop(number)
        assert process.exit_code() == 0
        assert "Traceback" not in process.log


def test_requests_in_flight_are_answered_before_it_exits(tmp_path: Path) -> None:
    with serving(tmp_path, "slow", SHUTDOWN_TIMEOUT_S="20") as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        answers = [threads.submit(embed, process, f"text {number}") for number in range(3)]
        wait_until(lambda: views_in_flight(process) == 3, "all three to be on the device or behind it")
        process.stop()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert process.exit_code() == 0


def test_a_signal_while_the_model_loads_exits_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "never", SHUTDOWN_TIMEOUT_S="60") as process:
        wait_until(lambda: process.ask("/livez") == 200 and "loading" in process.log, "the model to load", timeout_s=30)
        assert process.ask("/readyz") == 503
        process.stop()
        assert process.exit_code() == 0


def test_a_signal_that_is_ignored_at_start_stays_ignored(tmp_path: Path) -> None:
    """Under nohup, SIGHUP is ignored."""
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        "os.execv(sys.executable, [sys.executable, '-m', 'tests.integration.server.program', 'hash'])"
    )
    with sidecar_process(tmp_path, ("-c", program)) as process:
        process.await_ready()
        process.stop(signal.SIGHUP)
        assert embed(process, "a").status_code == 200
        process.stop()
        assert process.exit_code() == 0


def test_requests_in_flight_get_half_of_a_short_timeout_too(tmp_path: Path) -> None:
    with serving(tmp_path, "brisk", SHUTDOWN_TIMEOUT_S="1.9") as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        answer = threads.submit(embed, process, "a")
        wait_until(lambda: views_in_flight(process) == 1, "the text to be on the device")
        process.stop()
        assert answer.result().status_code == 200
        assert process.exit_code() == 0


def test_requests_during_shutdown_are_refused_or_answered_but_never_lost(tmp_path: Path) -> None:
    with serving(tmp_path, "slow", SHUTDOWN_TIMEOUT_S="8") as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        with httpx.Client(base_url=process.url) as kept:
            assert kept.get("/livez").status_code == 200
            answer = threads.submit(embed, process, "a")
            wait_until(lambda: views_in_flight(process) == 1, "the text to be on the device")
            process.stop()
            wait_until(lambda: process.ask("/livez") is None, "it to listen no more")
            with pytest.raises(httpx.TransportError):  # its idle connection was closed, and there is no new one
                kept.post("/embed/text", json={"text": "b"})
        assert answer.result().status_code == 200
        assert answer.result().headers["connection"] == "close"
        assert process.exit_code() == 0


def test_an_incomplete_body_is_answered_and_a_client_that_does_not_read_is_no_error(tmp_path: Path) -> None:
    head = b"POST /embed/text/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = json.dumps({"texts": [f"text {number}" for number in range(2048)]}).encode()
    with serving(tmp_path, "hash", SHUTDOWN_TIMEOUT_S="2") as process:
        process.await_ready()
        address = ("127.0.0.1", int(process.url.rpartition(":")[2]))
        with socket.socket() as reader, socket.create_connection(address, timeout=10) as writer:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(address)
            reader.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: select.select([reader], [], [], 0)[0], "the answer to begin", timeout_s=20)
            writer.sendall(head + b"Content-Length: 100000\r\n\r\n" + body[:100])
            process.ask("/livez")  # behind it
            process.stop()
            assert writer.recv(100_000).startswith(b"HTTP/1.1 503 ")
            assert process.exit_code() == 0
        assert "Traceback" not in process.log


def test_a_signal_before_it_serves_exits_with_code_0(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from sidecar import server; "
        "server.open_listeners = lambda *_: os.kill(os.getpid(), signal.SIGTERM) or []; "
        "from sidecar.config import load_settings; sys.exit(server.serve(load_settings()))"
    )
    with sidecar_process(tmp_path, ("-c", program)) as process:
        assert process.exit_code() == 0


ENDLESS = {"the device": "hang", "the tokenizer, in a thread": "endless" * 100, "the tokenizer, on the loop": "endless"}


@pytest.mark.parametrize("where", ENDLESS)
@pytest.mark.parametrize("timeout_s", [0.5, 2])
def test_a_part_that_never_ends_does_not_delay_the_exit(tmp_path: Path, where: str, timeout_s: float) -> None:
    with (
        serving(tmp_path, "fragile", SHUTDOWN_TIMEOUT_S=str(timeout_s)) as process,
        ThreadPoolExecutor() as threads,
    ):
        process.await_ready()
        answer = threads.submit(embed, process, ENDLESS[where])
        wait_until(lambda: "hanging" in process.log or "tokenizing" in process.log, "it to hang")
        process.stop()
        began_s = time.monotonic()
        assert process.exit_code(timeout_s=20) == 0
        assert time.monotonic() - began_s < timeout_s + LOADED_MACHINE_S
        if where != "the tokenizer, on the loop":
            assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "stopping")
        assert "Traceback" not in process.log


def test_a_frozen_database_does_not_delay_the_exit(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection, ExitStack() as thawed:
        connection.execute("create table notes (id bigint generated always as identity primary key, body text)")
        connection.execute("select sidecar.watch('notes', source => 'body', target => 'e')")
        with serving(tmp_path, "hash", DATABASE_URL=database_url, SHUTDOWN_TIMEOUT_S="3") as process:
            process.await_ready()
            connection.execute("insert into notes (body) values ('first')")
            done = "select from notes where e is not null"
            wait_until(lambda: connection.execute(done).fetchone() is not None, lambda: f"a vector\n{process.log}")
            for pid in backends(connection):
                freeze(pid)
                thawed.callback(os.kill, pid, signal.SIGCONT)
            connection.execute("insert into notes (body) select 'note ' || n from generate_series(1, 100) n")
            process.stop()
            began_s = time.monotonic()
            assert process.exit_code(timeout_s=20) == 0
            assert time.monotonic() - began_s < 3 + LOADED_MACHINE_S
            assert "Traceback" not in process.log


def backends(connection: psycopg.Connection[tuple[int]]) -> list[int]:
    """The backend pids of the sidecar's sessions."""
    ours = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    return [pid for (pid,) in connection.execute(ours).fetchall()]


def freeze(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGSTOP)
    except (ProcessLookupError, PermissionError):
        pytest.skip("the server's processes cannot be stopped from here: it runs elsewhere, or as another user")


def test_a_task_that_dies_exits_with_code_1(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile") as process:
        process.await_ready()
        assert embed(process, "break").status_code == 503
        assert process.exit_code() == 1
        assert "Task batcher died" in process.log
        assert "a bug in the encoder" in process.log


def test_a_device_that_hangs_exits_with_code_1_after_503_with_the_reason(tmp_path: Path) -> None:
    limits = {"DEVICE_TIMEOUT_S": "0.5", "DEVICE_RECOVERY_S": "5"}
    with serving(tmp_path, "fragile", **limits) as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        answer = threads.submit(embed, process, "hang")
        wait_until(lambda: process.ask("/readyz") == 503, "/readyz to say so")
        reason = "The device hangs: a micro-batch of 1 (text) takes more than 0.5 s (DEVICE_TIMEOUT_S)."
        told = httpx.get(f"{process.url}/readyz").json()["error"]
        assert (told["code"], told["message"]) == ("device_failed", reason)
        refused = embed(process, "another one")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "device_failed")
        assert process.exit_code() == 1
        assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "device_error")
        assert "CRITICAL" in process.log
        assert "Traceback" not in process.log


def test_a_device_that_keeps_failing_exits_with_code_1_after_503(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile", DEVICE_RECOVERY_S="4") as process:
        process.await_ready()
        for text in ("fail", "a", "b"):
            assert embed(process, text).json()["error"]["code"] == "device_error"
        wait_until(lambda: process.ask("/readyz") == 503, "/readyz to say so")
        assert process.exit_code() == 1
        assert "The device fails: the device is gone" in process.log
        assert "Traceback" not in process.log


def test_a_lost_device_exits_soon_whatever_the_recovery_time(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile", DEVICE_RECOVERY_S="600") as process:
        process.await_ready()
        assert embed(process, "lose").status_code == 503
        assert process.exit_code() == 1
        assert "The device is lost: CUDA error: device-side assert triggered" in process.log


@pytest.mark.parametrize(("encoder", "reason"), [("hanging", "self-test takes more than"), ("lost", "device-side")])
def test_a_self_test_that_hangs_or_loses_the_device_exits_with_code_1(
    tmp_path: Path, encoder: str, reason: str
) -> None:
    with serving(tmp_path, encoder, DEVICE_TIMEOUT_S="0.3", DEVICE_RECOVERY_S="0.3") as process:
        assert process.exit_code() == 1
        assert reason in process.log
        assert "Traceback" not in process.log


def test_a_device_that_hangs_stops_bare_uvicorn_too(tmp_path: Path) -> None:
    limits = {"DEVICE_TIMEOUT_S": "0.3", "DEVICE_RECOVERY_S": "0.3"}
    with (
        sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="fragile", **limits) as process,
        ThreadPoolExecutor() as threads,
    ):
        process.await_ready()
        answer = threads.submit(embed, process, "hang")
        assert process.exit_code() == -signal.SIGTERM
        assert answer.result().status_code == 503


def test_a_task_that_dies_stops_bare_uvicorn_too(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="fragile") as process:
        process.await_ready()
        assert embed(process, "break").status_code == 503
        assert process.exit_code() == -signal.SIGTERM
        assert "Task batcher died" in process.log


def test_a_model_that_cannot_be_loaded_ends_the_start_with_an_error_and_a_hint_alone(tmp_path: Path) -> None:
    with serving(tmp_path, "unreadable", DATABASE_URL="") as process:
        assert process.exit_code() == 1
        error, hint = process.log.splitlines()  # and nothing else
        assert error == "ERROR: /nowhere/model.safetensors cannot be read: is it cut off?"
        assert hint.startswith("HINT: VISION_MODEL_ID names the model")


def test_an_export_that_cannot_be_loaded_is_said_to_be_what_is_wrong(tmp_path: Path) -> None:
    export = {"ENCODER_BACKEND": "onnx", "EXPORT_DIR": str(tmp_path)}
    with serving(tmp_path, "unreadable", DATABASE_URL="", **export) as process:
        assert process.exit_code() == 1
        assert process.log.splitlines()[1].startswith("HINT: EXPORT_DIR names the export")


def test_a_setting_that_does_not_suit_the_machine_exits_with_code_2(tmp_path: Path) -> None:
    with serving(tmp_path, "refused", DATABASE_URL="") as process:
        assert process.exit_code() == 2
        assert process.log.splitlines() == [
            "ERROR: REQUIRE_CUDA='1': there is no GPU",
            "HINT: Set it to 0.",
            "ERROR: CUDA_DEVICE='cuda:7': there is no such GPU",
        ]


def test_an_error_at_the_start_is_an_event_in_a_log_of_json(tmp_path: Path) -> None:
    with serving(tmp_path, "refused", DATABASE_URL="", LOG_FORMAT="json") as process:
        assert process.exit_code() == 2
        events = [json.loads(line) for line in process.log.splitlines()]
    assert [(event["level"], event["message"].partition(": ")[0], event.get("hint")) for event in events] == [
        ("CRITICAL", "REQUIRE_CUDA='1'", "Set it to 0."),
        ("CRITICAL", "CUDA_DEVICE='cuda:7'", None),
    ]


def test_an_invalid_setting_exits_bare_uvicorn_with_code_2_before_anything_is_loaded(tmp_path: Path) -> None:
    wrong = {"BATCH_MAX_VIEWS": "none", "LOG_LEVEL": "LOUD"}
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash", **wrong) as process:
        assert process.exit_code() == 2
        lines = sorted(process.log.splitlines())
        assert [line.partition("=")[0] for line in lines] == ["ERROR: BATCH_MAX_VIEWS", "ERROR: LOG_LEVEL"]


def test_bare_uvicorn_serves_and_stops(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash") as process:
        process.await_ready()
        assert embed(process, "a").status_code == 200
        process.stop()
        assert process.exit_code() == -signal.SIGTERM
        assert "Traceback" not in process.log


def views_in_flight(process: Process) -> int:
    query = httpx.get(f"{process.url}/status").json()["lanes"]["query"]
    return int(query["waiting"] + query["running"])
