"""Formatters of log lines, in the layout of `LOG_FORMAT` or as JSON; both mask secrets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from sidecar.redaction import redact
from sidecar.telemetry.request_context import current_request_id
from sidecar.telemetry.traces import current_ids

_ENCODER = json.JSONEncoder(default=str)
_ID_FIELDS = ("request_id", "trace_id", "span_id")
# Errors of Postgres and pydantic quote users' data in tracebacks: the failing row, the invalid value.
_QUOTED_ROW = re.compile(r"^DETAIL: .*?(?=^HINT: |^\n(?:The above|During handling)|\Z)", re.MULTILINE | re.DOTALL)
_QUOTED_VALUE = re.compile(r"\binput_value=.*, input_type=")


class ContextFilter(logging.Filter):
    """Adds `request_id`, `trace_id` and `span_id` of the current task to every record; empty outside of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace_id, span_id = current_ids() or ("", "")
        record.request_id = current_request_id.get() or ""
        record.trace_id = trace_id
        record.span_id = span_id
        return True


class LineFormatter(logging.Formatter):
    """Masks secrets in the finished line, arguments and tracebacks included.

    Ids follow the message in brackets, unless there are none or the layout places them itself.
    """

    def __init__(self, layout: str | None = None) -> None:
        super().__init__(layout)
        self._secrets: frozenset[str] = frozenset()
        self._any_secret: re.Pattern[str] | None = None
        self._appends_ids = not any(f"%({name})" in (layout or "") for name in _ID_FIELDS)

    @property
    def secrets(self) -> frozenset[str]:
        return self._secrets

    def hide(self, secrets: Iterable[str]) -> None:
        """Masks these secrets too from now on. Any thread may call."""
        self._secrets = self._secrets.union(filter(None, secrets))
        spellings = {spelling for secret in self._secrets for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._any_secret = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return self.without_secrets(_mask_quoted_data(line) if record.exc_info else line)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging's
        line = super().formatMessage(record)
        ids = [f"{name}={value}" for name in _ID_FIELDS[:2] if (value := getattr(record, name, ""))]
        return f"{line} [{' '.join(ids)}]" if ids and self._appends_ids else line

    def without_secrets(self, text: str) -> str:
        return redact(self._any_secret.sub("***", text) if self._any_secret else text)


class JsonFormatter(LineFormatter):
    """One JSON object per line, in ASCII: `ts`, `level`, `logger`, `message`, then ids, extra fields and exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name in _ID_FIELDS if (value := getattr(record, name, ""))}
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = _mask_quoted_data(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        # Masked field by field: a match across two of them would break the JSON.
        texts = {name: self.without_secrets(value) for name, value in fields.items() if isinstance(value, str)}
        return _ENCODER.encode(fields | texts)


def _mask_quoted_data(traceback: str) -> str:
    text = _QUOTED_ROW.sub("DETAIL: ***\n", traceback).rstrip("\n")
    return _QUOTED_VALUE.sub("input_value=***, input_type=", text)


def _spellings(secret: str) -> set[str]:
    """The secret verbatim, and as escaped in Python, in JSON and in a URL."""
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
