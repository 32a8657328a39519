"""Set-up of the one log on stderr that this package and all libraries write to."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sidecar.config import Settings
from sidecar.telemetry.logs.formatters import ContextFilter, JsonFormatter, LineFormatter
from sidecar.telemetry.logs.stderr_handler import StderrHandler

CONNECTION_LOGGER = "uvicorn.error.connection"
"""The logger of our HTTP connections, which uvicorn would have log to `uvicorn.error`."""

_PACKAGE = "sidecar"
_LEVELS_OF_LIBRARIES = ("DEBUG", "WARNING", "ERROR", "CRITICAL")
_UVICORN_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
_QUIET_LOGGERS = {
    # The sidecar logs each request itself; uvicorn's line would show the query string.
    "uvicorn.access": logging.CRITICAL + 1,
    # At INFO these log every request to a model hub, with the signed URL of the download.
    "httpcore": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    # At DEBUG these log their input: the text in a picture's EXIF, the parts of a form.
    "PIL": logging.INFO,
    "python_multipart": logging.INFO,
    # At WARNING it logs the whole `tracestate` header, whatever a client put into it.
    "opentelemetry.trace.span": logging.ERROR,
}
# These warn of every malformed request: any client could flood the log.
_CLIENT_TRIGGERED_LOGGERS = ("python_multipart.multipart", CONNECTION_LOGGER)
_CLIENT_TRIGGERED_INTERVAL_S = 10.0


class _ThrottledWarnings(logging.Filter):
    """Passes all errors, but only one record below ERROR in ten seconds."""

    _next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        passes = record.created >= self._next_at
        if passes:
            self._next_at = record.created + _CLIENT_TRIGGERED_INTERVAL_S
        return passes


class _OurHandler(StderrHandler):
    """The handler of `configure_logging`; its own class, so that a second call replaces it and no other handler."""

    def __init__(self, lines: LineFormatter) -> None:
        super().__init__()
        self.lines = lines
        self.setFormatter(lines)
        self.addFilter(ContextFilter())


def configure_logging(settings: Settings) -> None:
    """Sends all logging and all warnings to stderr in `LOG_FORMAT`, from `LOG_LEVEL` up. May be called again.

    With INFO, libraries log from WARNING up: what they tell of their own start hides what we say.
    """
    lines = JsonFormatter() if settings.log_format == "json" else LineFormatter(settings.log_format)
    lines.hide(_tokens(settings))
    root = logging.getLogger()
    for earlier in _our_handlers():
        lines.hide(earlier.lines.secrets)
        root.removeHandler(earlier)
    root.addHandler(_OurHandler(lines))
    root.setLevel(settings.log_level if settings.log_level in _LEVELS_OF_LIBRARIES else "WARNING")
    logging.getLogger(_PACKAGE).setLevel(settings.log_level)
    for name in _UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    for name in _CLIENT_TRIGGERED_LOGGERS:
        logging.getLogger(name).filters = [_ThrottledWarnings()]
    logging.captureWarnings(capture=True)


def hide_in_logs(secrets: Iterable[str]) -> None:
    """Replaces each secret by `***` in all log lines from now on."""
    found = list(secrets)
    for handler in _our_handlers():
        handler.lines.hide(found)


def _tokens(settings: Settings) -> list[str]:
    """Secrets that the sidecar sends. Clients' keys come through `hide_in_logs`; redaction finds passwords."""
    headers = settings.otel_exporter_otlp_headers
    pairs = headers.get_secret_value().split(",") if headers else []
    tokens = [token.get_secret_value() for token in (settings.hf_token, settings.sidecar_api_key) if token]
    return [*tokens, *(pair.partition("=")[2].strip() for pair in pairs)]


def _our_handlers() -> list[_OurHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _OurHandler)]
