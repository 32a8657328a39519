"""One log on stderr, for our messages and everybody else's."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sidecar.config import Settings
from sidecar.telemetry.logs.formatters import ContextFilter, JsonFormatter, LineFormatter
from sidecar.telemetry.logs.stderr_handler import StderrHandler

CONNECTION_LOGGER = "uvicorn.error.connection"
"""What our connections write as `uvicorn.error` otherwise."""

_UVICORN_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
_QUIET_LOGGERS = {
    # sidecar.http.access_log writes a line for every request; this one's would have the query string.
    "uvicorn.access": logging.CRITICAL + 1,
    # They log every request to a model hub at INFO, with the signed address of the download.
    "httpcore": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    # At DEBUG they log what they read: the text in a picture's EXIF, the parts of a form.
    "PIL": logging.INFO,
    "python_multipart": logging.INFO,
    # At WARNING it writes the whole `tracestate` of a request, whatever a stranger put into it.
    "opentelemetry.trace.span": logging.ERROR,
}
# They warn of every request that is malformed, so that anybody could fill the log.
_CLIENT_TRIGGERED_LOGGERS = ("python_multipart.multipart", CONNECTION_LOGGER)
_CLIENT_TRIGGERED_INTERVAL_S = 10.0


class _ThrottledWarnings(logging.Filter):
    """Of what is no error, one record in ten seconds."""

    _next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        passes = record.created >= self._next_at
        if passes:
            self._next_at = record.created + _CLIENT_TRIGGERED_INTERVAL_S
        return passes


class _OurHandler(StderrHandler):
    """A class of its own, so that a second call replaces our handler and nobody else's."""

    def __init__(self, lines: LineFormatter) -> None:
        super().__init__()
        self.lines = lines
        self.setFormatter(lines)
        self.addFilter(ContextFilter())


def configure_logging(settings: Settings) -> None:
    """Sends all logging and all warnings to stderr in `LOG_FORMAT`, from `LOG_LEVEL` up. May be called again."""
    lines = JsonFormatter() if settings.log_format == "json" else LineFormatter(settings.log_format)
    lines.hide(_tokens(settings))
    root = logging.getLogger()
    for earlier in _our_handlers():
        lines.hide(earlier.lines.secrets)
        root.removeHandler(earlier)
    root.addHandler(_OurHandler(lines))
    root.setLevel(settings.log_level)
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
    """From now on `***` stands for each of them in what `configure_logging` set up."""
    found = list(secrets)
    for handler in _our_handlers():
        handler.lines.hide(found)


def _tokens(settings: Settings) -> list[str]:
    """What we send to others. Keys that others send to us come with `hide_in_logs`; redaction finds passwords."""
    headers = settings.otel_exporter_otlp_headers
    pairs = headers.get_secret_value().split(",") if headers else []
    tokens = [token.get_secret_value() for token in (settings.hf_token, settings.sidecar_api_key) if token]
    return [*tokens, *(pair.partition("=")[2].strip() for pair in pairs)]


def _our_handlers() -> list[_OurHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _OurHandler)]
