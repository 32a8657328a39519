"""Log lines: their layout, and the secrets that must not be in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from opentelemetry.trace import SpanContext, TraceState
from pydantic import BaseModel, ValidationError

from sidecar.config import Settings
from sidecar.telemetry.logs.configuration import configure_logging, hide_in_logs
from sidecar.telemetry.logs.formatters import JsonFormatter
from sidecar.telemetry.request_context import current_request_id
from sidecar.telemetry.traces import TraceContext, current_trace


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@contextmanager
def traced(trace_id: int, span_id: int) -> Iterator[None]:
    token = current_trace.set(TraceContext(SpanContext(trace_id, span_id, is_remote=False)))
    try:
        yield
    finally:
        current_trace.reset(token)


@contextmanager
def serving(request_id: str) -> Iterator[None]:
    token = current_request_id.set(request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


def log_line(capsys: pytest.CaptureFixture[str]) -> Any:
    """The only line written, parsed as JSON."""
    (line,) = capsys.readouterr().err.splitlines()
    return json.loads(line)


def test_lines_have_the_configured_layout_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="WARNING", log_format="%(levelname)s: %(message)s"))
    logging.getLogger("sidecar.test").info("too quiet")
    logging.getLogger("sidecar.test").warning("loud enough")
    assert capsys.readouterr().err == "WARNING: loud enough\n"


def test_passwords_are_masked_in_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="%(message)s"))
    url = "postgresql://me:hunter2@localhost/shop"
    error = OSError(f"cannot connect to {url}")
    logging.getLogger("sidecar.test").error("trying %s with %s", url, "hf_abcdefgh12345678", exc_info=error)
    assert capsys.readouterr().err == (
        "trying postgresql://me:***@localhost/shop with hf_***\n"
        "OSError: cannot connect to postgresql://me:***@localhost/shop\n"
    )


def test_lines_of_a_request_end_with_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="%(levelname)s: %(message)s"))
    logger = logging.getLogger("sidecar.test")
    with serving("order-66"):
        logger.error("inside", exc_info=ValueError("why"))
    logger.error("outside")
    assert capsys.readouterr().err == "ERROR: inside [request_id=order-66]\nValueError: why\nERROR: outside\n"


def test_the_layout_may_place_the_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="<%(request_id)s|%(trace_id)s|%(span_id)s> %(message)s"))
    with serving("order-66"):
        logging.getLogger("sidecar.test").error("inside")
    logging.getLogger("sidecar.test").error("outside")
    assert capsys.readouterr().err == "<order-66||> inside\n<||> outside\n"


def test_the_trace_id_stands_beside_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    ids = {"request_id": "order-66", "trace_id": f"{7:032x}", "span_id": f"{9:016x}"}
    for log_format in ("%(message)s", "json"):
        configure_logging(Settings(log_format=log_format))
        with serving("order-66"), traced(7, 9):
            logging.getLogger("sidecar.test").error("inside")
    text, line = capsys.readouterr().err.splitlines()
    assert text == f"inside [request_id=order-66 trace_id={7:032x}]"
    assert ids.items() <= json.loads(line).items()


def test_a_json_line_has_its_time_in_utc_and_extra_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="JSON"))
    logger = logging.getLogger("sidecar.test")
    with serving("order-66"):
        logger.warning("two\nlines of \u2028 %s", "text", extra={"fields": {"status": 200}})
    line = log_line(capsys)
    assert datetime.now(UTC) - datetime.fromisoformat(line.pop("ts")) < timedelta(minutes=1)
    assert line == {
        "level": "WARNING",
        "logger": "sidecar.test",
        "message": "two\nlines of \u2028 text",
        "request_id": "order-66",
        "status": 200,
    }
    logger.error("failed", exc_info=ValueError("why"))
    line = log_line(capsys)
    assert line["exception"] == "ValueError: why"
    assert "request_id" not in line


def test_a_lone_surrogate_is_escaped() -> None:
    # Formatted without a logger: pytest would put the line into its report, which has to be UTF-8.
    record = logging.LogRecord("sidecar.test", logging.INFO, __file__, 1, "half: \udcff", None, None)
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert json.loads(line)["message"] == "half: \udcff"


@pytest.mark.parametrize("log_format", ["json", "%(message)s", "%(request_id)s %(message)s"])
def test_keys_are_masked_in_messages_fields_ids_and_tracebacks(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    keys = ['quotes"and\\0123456789', "0123456789abcdef", "0123456789abcdef-longer"]
    configure_logging(Settings(log_format=log_format))
    hide_in_logs(keys)
    configure_logging(Settings(log_format=log_format))  # a second call keeps the secrets
    with serving(keys[1]):
        fields = {"path": f"/{keys[0]}"}
        logging.getLogger("sidecar.test").error("%s", keys, exc_info=ValueError(keys[2]), extra={"fields": fields})
        logging.getLogger("sidecar.test").error("unknown: Bearer 9876543210fedcba")
    written = capsys.readouterr().err
    assert not [key for key in (*keys, "quotes", "0123456789", "9876543210", "longer") if key in written]
    assert len(written.splitlines()) == (2 if log_format == "json" else 3)


@pytest.mark.parametrize("name", ["python_multipart.multipart", "uvicorn.error.connection"])
def test_warnings_that_clients_can_trigger_are_throttled_and_errors_are_not(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for _ in range(2):
        configure_logging(Settings(log_format="%(levelname)s", log_level="DEBUG"))
    for _ in range(100):
        logging.getLogger(name).warning("malformed")
    logging.getLogger(name).error("failed")
    logging.getLogger(name).error("failed")
    assert capsys.readouterr().err.split() == ["WARNING", "ERROR", "ERROR"]


def test_a_clients_tracestate_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="DEBUG"))
    TraceState.from_header(["zanzibar" * 1000, "a=zanzibar,a=zanzibar", "zanzibar=="])
    TraceState([("zanzibar zanzibar", "\n")])
    assert capsys.readouterr().err == ""


def test_rows_and_values_quoted_by_errors_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="%(message)s"))
    postgres = asyncpg.CheckViolationError("new row violates check constraint")
    postgres.detail = "Failing row contains (1, a text,\n\n of three lines: a text)."
    postgres.hint = "Do otherwise."
    text = "a text"
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"text": [text, text]})
    caught.value.__cause__ = postgres
    logging.getLogger("sidecar.test").error("failed", exc_info=caught.value)
    written = capsys.readouterr().err
    assert "a text" not in written
    assert "DETAIL: ***\nHINT:  Do otherwise.\n\nThe above exception was the direct cause" in written
    assert "input_value=***, input_type=list" in written


class Body(BaseModel):
    text: str
