import subprocess
import sys

import pytest

CONFIGURE = """
import logging, warnings
from sidecar.config import Settings
from sidecar.telemetry.logs import configure_logging
configure_logging(Settings(log_level={level!r}, log_format="%(levelname)s %(name)s %(message)s"))
"""


def stderr_of(program: str, level: str = "INFO") -> list[str]:
    """What a process writes that configures logging and then runs `program`; logging belongs to the whole process."""
    command = [sys.executable, "-c", CONFIGURE.format(level=level) + program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_messages_are_written_in_the_format_of_the_settings() -> None:
    assert stderr_of("logging.getLogger('sidecar.ingest').info('claimed %d rows', 3)") == [
        "INFO sidecar.ingest claimed 3 rows"
    ]


def test_messages_below_the_level_are_left_out() -> None:
    program = "logging.getLogger('a').info('no'); logging.getLogger('a').warning('yes')"
    assert stderr_of(program, "WARNING") == ["WARNING a yes"]


@pytest.mark.parametrize(
    "program",
    [
        "logging.error('no connection to postgresql://ann:s3cret@db/shop')",
        "logging.error('no connection to %s', 'postgresql://ann:s3cret@db/shop')",
        "logging.error('no connection to %s', {'url': 'postgresql://ann:s3cret@db/shop'})",
        "warnings.warn('slow: postgresql://ann:s3cret@db/shop')",
    ],
)
def test_passwords_are_not_written(program: str) -> None:
    written = "\n".join(stderr_of(program))
    assert "postgresql://ann:***@db/shop" in written
    assert "s3cret" not in written


def test_passwords_in_tracebacks_are_not_written() -> None:
    program = """
url = "postgresql://ann:{}@db/shop".format("s3" + "cret")
try:
    raise ValueError(f"bad URL {url}")
except ValueError:
    logging.exception("failed")
"""
    written = "\n".join(stderr_of(program))
    assert "ValueError: bad URL postgresql://ann:***@db/shop" in written
    assert "s3cret" not in written


def test_configuring_twice_writes_each_message_once() -> None:
    assert stderr_of("configure_logging(Settings()); logging.warning('once')")[0].endswith("| WARNING | root | once")
    assert len(stderr_of("configure_logging(Settings()); logging.warning('once')")) == 1


def test_another_handler_of_the_application_stays() -> None:
    program = """
root = logging.getLogger()
other = logging.NullHandler()
root.addHandler(other)
configure_logging(Settings())
assert other in root.handlers
"""
    assert stderr_of(program) == []


def test_uvicorns_messages_are_written_once_and_in_the_same_format() -> None:
    program = """
import uvicorn
uvicorn.Config("nothing:app")  # gives its loggers handlers of their own, as `uvicorn --factory` does
configure_logging(Settings(log_format="%(levelname)s %(name)s %(message)s"))
logging.getLogger("uvicorn.error").info("started")
logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "::1", "GET", "/readyz", "1.1", 200)
"""
    assert stderr_of(program) == [
        "INFO uvicorn.error started",
        'INFO uvicorn.access ::1 - "GET /readyz HTTP/1.1" 200',
    ]


def test_signed_addresses_of_model_downloads_are_not_logged() -> None:
    assert stderr_of("logging.getLogger('httpx').info('GET https://hub/model?signature=s3cret')") == []
