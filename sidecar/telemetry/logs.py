"""One log on stderr, for our messages and everybody else's, without secrets."""

from __future__ import annotations

import logging
from typing import TextIO

from sidecar.config import Settings
from sidecar.redaction import redact

_UVICORN_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
# They log every request to a model hub at INFO, with the signed address of the download.
_CHATTY_LOGGERS = ("httpcore", "httpx", "urllib3")


class RedactingFormatter(logging.Formatter):
    """Takes secrets out of the finished line, so out of arguments and tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _OurHandler(logging.StreamHandler[TextIO]):
    """A class of its own, so that a second call replaces our handler and nobody else's."""


def configure_logging(settings: Settings) -> None:
    """Sends all logging and all warnings to stderr in `LOG_FORMAT`, from `LOG_LEVEL` up. May be called again."""
    handler = _OurHandler()
    handler.setFormatter(RedactingFormatter(settings.log_format))
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _OurHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in _UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
