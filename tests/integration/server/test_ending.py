"""How the process ends: in order, within its time, and with an exit code that tells."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

UVICORN = ("-m", "uvicorn", "--factory", "tests.integration.server.program:make_app", "--port", "{port}")


def serving(directory: Path, encoder: str, **environment: str) -> AbstractContextManager[Process]:
    return sidecar_process(directory, ("-m", "tests.integration.server.program", encoder), **environment)


def embed(process: Process, text: str) -> httpx.Response:
    return httpx.post(f"{process.url}/embed/text", json={"text": text}, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "hash") as process:
        process.await_ready()
        process.stop(number)
        assert process.exit_code() == 0
        assert "Traceback" not in process.log


def test_requests_in_hand_are_answered_before_it_ends(tmp_path: Path) -> None:
    with serving(tmp_path, "slow", SHUTDOWN_TIMEOUT_S="20") as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        answers = [threads.submit(embed, process, f"text {number}") for number in range(3)]
        wait_until(lambda: views_in_hand(process) == 3, "all three to be on the device or behind it")
        process.stop()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert process.exit_code() == 0


def test_a_signal_while_the_model_loads_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "never", SHUTDOWN_TIMEOUT_S="60") as process:
        wait_until(lambda: process.ask("/livez") == 200 and "loading" in process.log, "the model to load")
        assert process.ask("/readyz") == 503
        process.stop()
        assert process.exit_code() == 0


def test_a_device_that_hangs_does_not_keep_it_beyond_its_time(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile", SHUTDOWN_TIMEOUT_S="2") as process, ThreadPoolExecutor() as threads:
        process.await_ready()
        answer = threads.submit(embed, process, "hang")
        wait_until(lambda: "hanging" in process.log, "the device to hang")
        process.stop()
        assert process.exit_code(timeout_s=10) == 0  # 2 s, and what a loaded machine takes to end an interpreter
        assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "stopping")
        assert "Traceback" not in process.log


def test_a_task_that_dies_ends_the_process_with_code_1(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile") as process:
        process.await_ready()
        assert embed(process, "break").status_code == 503
        assert process.exit_code() == 1
        assert "Task batcher died" in process.log
        assert "a bug in the encoder" in process.log


def test_a_device_that_hangs_ends_the_process_with_code_1_after_503_with_the_reason(tmp_path: Path) -> None:
    limits = {"DEVICE_TIMEOUT_S": "0.5", "DEVICE_RECOVERY_S": "3"}
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


def test_a_device_that_fails_for_good_ends_the_process_with_code_1_after_503(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile", DEVICE_RECOVERY_S="2") as process:
        process.await_ready()
        for text in ("fail", "a", "b"):
            assert embed(process, text).json()["error"]["code"] == "device_error"
        wait_until(lambda: process.ask("/readyz") == 503, "/readyz to say so")
        assert process.exit_code() == 1
        assert "The device fails: the device is gone" in process.log
        assert "Traceback" not in process.log


def test_a_lost_device_ends_the_process_soon_whatever_time_it_may_have_to_recover(tmp_path: Path) -> None:
    with serving(tmp_path, "fragile", DEVICE_RECOVERY_S="600") as process:
        process.await_ready()
        assert embed(process, "lose").status_code == 503
        assert process.exit_code(timeout_s=10) == 1
        assert "The device is lost: CUDA error: device-side assert triggered" in process.log


@pytest.mark.parametrize(("encoder", "reason"), [("hanging", "self-test takes more than"), ("lost", "device-side")])
def test_a_self_test_that_hangs_or_loses_the_device_ends_the_process_with_code_1(
    tmp_path: Path, encoder: str, reason: str
) -> None:
    with serving(tmp_path, encoder, DEVICE_TIMEOUT_S="0.3", DEVICE_RECOVERY_S="0.3") as process:
        assert process.exit_code() == 1
        assert reason in process.log
        assert "Traceback" not in process.log


def test_a_device_that_hangs_ends_bare_uvicorn_too(tmp_path: Path) -> None:
    limits = {"DEVICE_TIMEOUT_S": "0.3", "DEVICE_RECOVERY_S": "0.3"}
    with (
        sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="fragile", **limits) as process,
        ThreadPoolExecutor() as threads,
    ):
        process.await_ready()
        answer = threads.submit(embed, process, "hang")
        assert process.exit_code() == -signal.SIGTERM
        assert answer.result().status_code == 503


def test_a_task_that_dies_ends_bare_uvicorn_too(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="fragile") as process:
        process.await_ready()
        assert embed(process, "break").status_code == 503
        assert process.exit_code() == -signal.SIGTERM
        assert "Task batcher died" in process.log


def test_a_model_that_cannot_be_loaded_ends_it_with_code_1_and_one_line(tmp_path: Path) -> None:
    with serving(tmp_path, "unreadable", LOG_FORMAT="%(levelname)s %(message)s") as process:
        assert process.exit_code() == 1
        assert "CRITICAL /nowhere/model.safetensors cannot be read: is it cut off?\n" in process.log
        assert "Traceback" not in process.log


def test_a_setting_that_does_not_go_with_the_machine_ends_it_with_code_2(tmp_path: Path) -> None:
    with serving(tmp_path, "refused", LOG_FORMAT="%(levelname)s %(message)s") as process:
        assert process.exit_code() == 2
        assert "CRITICAL REQUIRE_CUDA='1': there is no GPU\n" in process.log
        assert "CRITICAL CUDA_DEVICE='cuda:7': there is no such GPU\n" in process.log
        assert "Traceback" not in process.log


def test_a_wrong_setting_ends_bare_uvicorn_with_code_2_before_anything_is_loaded(tmp_path: Path) -> None:
    wrong = {"BATCH_MAX_VIEWS": "none", "LOG_LEVEL": "LOUD"}
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash", **wrong) as process:
        assert process.exit_code() == 2
        lines = sorted(process.log.splitlines())
        assert [line.partition("=")[0] for line in lines] == ["BATCH_MAX_VIEWS", "LOG_LEVEL"]


def test_bare_uvicorn_serves_and_stops(tmp_path: Path) -> None:
    with sidecar_process(tmp_path, UVICORN, SIDECAR_TEST_ENCODER="hash") as process:
        process.await_ready()
        assert embed(process, "a").status_code == 200
        process.stop()
        assert process.exit_code() == -signal.SIGTERM
        assert "Traceback" not in process.log


def views_in_hand(process: Process) -> int:
    query = httpx.get(f"{process.url}/status").json()["lanes"]["query"]
    return int(query["waiting"] + query["running"])
