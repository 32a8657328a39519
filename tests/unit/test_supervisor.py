"""Supervised tasks that end, die or are stopped."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sidecar.errors import ConfigurationError, ModelError
from sidecar.process_exit import EXIT_CONFIGURATION, EXIT_FAILURE
from sidecar.supervisor import Supervisor


class FailureCallback:
    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.times = 0

    def __call__(self, reason: str) -> None:
        self.times += 1
        self.called.set()


async def die(error: Exception) -> None:
    raise error


async def end() -> None:
    return


async def test_a_task_that_dies_is_logged_with_its_traceback_and_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    on_failure = FailureCallback()
    supervisor = Supervisor(on_failure)
    async with supervisor.running("first", die(KeyError("a bug"))), supervisor.running("second", die(OSError())):
        await asyncio.wait_for(on_failure.called.wait(), 5)
        await asyncio.sleep(0)
    assert on_failure.times == 1
    assert supervisor.exit_code == EXIT_FAILURE
    assert supervisor.failure == "task first died: 'a bug'"
    record = caplog.records[0]
    assert (record.levelno, record.message) == (logging.CRITICAL, "Task first died; the process ends.")
    assert record.exc_info is not None


async def test_a_task_that_ends_unexpectedly_is_a_failure() -> None:
    on_failure = FailureCallback()
    supervisor = Supervisor(on_failure)
    async with supervisor.running("worker", end()):
        await asyncio.wait_for(on_failure.called.wait(), 5)
    assert (supervisor.exit_code, supervisor.failure) == (EXIT_FAILURE, "task worker ended unasked")


async def test_a_task_that_ends_while_stopping_is_no_failure() -> None:
    supervisor = Supervisor(FailureCallback())
    supervisor.stop()
    async with supervisor.running("worker", end()) as task:
        await task
    assert (supervisor.exit_code, supervisor.failure) == (0, None)


async def test_a_task_is_cancelled_and_awaited_at_the_end_of_its_block() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("closed")

    supervisor = Supervisor(FailureCallback())
    async with supervisor.running("worker", work()) as task:
        assert task.get_name() == "worker"
        await asyncio.sleep(0)
    steps.append("left")
    assert steps == ["closed", "left"]
    assert supervisor.failure is None


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ModelError("no such file\nHINT: Look."), EXIT_FAILURE, ["no such file. Look."]),
        (ConfigurationError(["A='1': no", "B='2': no"]), EXIT_CONFIGURATION, ["A='1': no", "B='2': no"]),
    ],
)
async def test_errors_that_the_operator_can_fix_are_logged_without_a_traceback(
    caplog: pytest.LogCaptureFixture, error: Exception, code: int, lines: list[str]
) -> None:
    on_failure = FailureCallback()
    supervisor = Supervisor(on_failure)
    async with supervisor.running("worker", die(error)):
        await asyncio.wait_for(on_failure.called.wait(), 5)
    assert supervisor.exit_code == code
    assert [record.message for record in caplog.records] == lines
    assert not any(record.exc_info for record in caplog.records)
