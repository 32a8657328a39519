"""One process with several devices, of which one is lost, or all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import numpy as np
import psycopg

from tests.encoders import HashEncoder
from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

LOST = "The device is lost: CUDA error: device-side assert triggered"


def serving(directory: Path, encoder: str, **environment: str) -> AbstractContextManager[Process]:
    return sidecar_process(directory, ("-m", "tests.integration.server.program", encoder), **environment)


def embed_all(process: Process, texts: Sequence[str]) -> list[httpx.Response]:
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda text: httpx.post(f"{process.url}/embed/text", json={"text": text}), texts))


def ready(process: Process) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{process.url}/readyz").json()
    return answer


def check_metrics(page: str) -> None:
    assert 'sidecar_device_working{device="cuda:0"} 1.0' in page
    assert 'sidecar_device_working{device="cuda:1"} 0.0' in page
    assert "sidecar_device_trouble 0.0" in page
    assert 'sidecar_device_retries_total{device="cuda:0"} 0.0' in page
    assert 'sidecar_device_retries_total{device="cuda:1"} 0.0' not in page


def test_a_device_that_is_lost_leaves_the_other_serving_and_no_query_and_no_row_notices(
    tmp_path: Path, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table docs (id int primary key, body text)")
        connection.execute("select sidecar.watch('docs', source => 'body', target => 'embedding')")
        with serving(tmp_path, "two", DATABASE_URL=database_url) as process:
            process.await_ready()
            assert ready(process) == {"status": "ready"}
            connection.execute("insert into docs select i, 'row ' || i from generate_series(1, 200) i")
            encoder = HashEncoder()
            for attempt in range(20):
                texts = [f"text {attempt} {number}" for number in range(16)]
                answers = embed_all(process, texts)
                assert {answer.status_code for answer in answers} == {200}, answers[0].text
                for text, answer in zip(texts, answers, strict=True):
                    vector = np.array(answer.json()["embedding"], np.float32)
                    np.testing.assert_array_equal(vector, encoder.vector_of(text))
                if "devices_out" in ready(process):
                    break
            assert ready(process) == {"status": "ready", "devices_out": {"cuda:1": LOST}}
            status = httpx.get(f"{process.url}/status").json()
            assert status["devices"] == [
                {"device": "cuda:0", "trouble": None},
                {"device": "cuda:1", "trouble": LOST},
            ]
            check_metrics(httpx.get(f"{process.url}/metrics").text)

            def all_are_embedded() -> bool:
                row = connection.execute("select count(embedding) from docs").fetchone()
                return row == (200,)

            wait_until(all_are_embedded, lambda: f"all rows to be embedded\n{process.log}", 30)
            assert connection.execute("select count(*) from sidecar.failures").fetchone() == (0,)
            assert f"cuda:1: {LOST}. The process continues with cuda:0. Only a restart brings it back." in process.log
            process.stop()
            assert process.exit_code() == 0


def test_a_device_that_fails_its_self_test_is_left_out(tmp_path: Path) -> None:
    with serving(tmp_path, "one-and-a-dead") as process:
        process.await_ready()
        out = ready(process)["devices_out"]
        assert isinstance(out, dict)
        assert list(out) == ["cuda:0"]
        assert "device-side assert" in out["cuda:0"]
        assert {answer.status_code for answer in embed_all(process, ["a", "b", "c"])} == {200}


def test_the_process_ends_with_code_1_once_the_last_device_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path, "two-mortals", QUERY_CACHE_BYTES="0") as process:
        process.await_ready()

        def has_ended() -> bool:
            try:
                embed_all(process, ["a", "b"])
            except httpx.TransportError:
                return True
            return False

        wait_until(has_ended, lambda: f"the process to end\n{process.log}", 30)
        assert process.exit_code() == 1
        assert f"cuda:0: {LOST}; cuda:1: {LOST}; the process exits" in process.log
