"""Log lines: their layout, and what must not be in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from sidecar.config import Settings
from sidecar.telemetry.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_lines_have_the_layout_and_the_level_that_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="WARNING", log_format="%(levelname)s: %(message)s"))
    logging.getLogger("sidecar.test").info("too quiet")
    logging.getLogger("sidecar.test").warning("loud enough")
    assert capsys.readouterr().err == "WARNING: loud enough\n"


def test_no_password_reaches_a_line_or_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="%(message)s"))
    url = "postgresql://me:hunter2@localhost/shop"
    error = OSError(f"cannot connect to {url}")
    logging.getLogger("sidecar.test").error("trying %s with %s", url, "hf_abcdefgh12345678", exc_info=error)
    assert capsys.readouterr().err == (
        "trying postgresql://me:***@localhost/shop with hf_***\n"
        "OSError: cannot connect to postgresql://me:***@localhost/shop\n"
    )
