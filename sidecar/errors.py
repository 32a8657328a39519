"""The errors that this package raises on purpose.

    SidecarError
    ├── ConfigurationError          a setting is wrong; the process does not start (exit code 2)
    ├── InputError                  the caller's text, picture or request cannot be used
    │   ├── TextRejected            blank after canonicalisation, not a string, without a finite vector …
    │   └── PictureRejected         not a picture, truncated, too many pixels, crashed its decoder …
    ├── Overloaded                  a bounded queue is full; retry after `retry_after_s`
    ├── TooManyListeners            all places of /events are taken; retry after `retry_after_s`
    ├── ModelError                  the model cannot be loaded, or fails its self-test
    ├── RerankModelFailed           the reranking model cannot be loaded; retry after `retry_after_s`
    ├── DeviceError                 the device failed while encoding; no input is to blame
    │   ├── DeviceOutOfMemory       … because the batch was too large for its memory
    │   └── DeviceLost              … for good: the process must exit
    ├── DecoderUnavailable          no decoder process can be started, or the pool is closed; no picture is to blame
    └── DatabaseError
        ├── DatabaseUnavailable     no connection: ingest waits, queries go on
        ├── Contention              lock timeout, deadlock or serialisation failure: retry
        │   └── TimedOut            … or a statement took too long: retry with less
        ├── WatchChanged            a watched table or column has changed: reload the watches
        ├── SchemaError             not migrated, or pgvector missing or too old
        └── StatementRejected       Postgres refused a call such as sidecar.watch: message, hint, SQLSTATE

Errors of a single part are defined there, as SidecarErrors too: `WriteSuppressed` and `SearchDenied` (postgres),
`NotReady` (readiness), `AccessDenied` (http), `CannotListen` (listening), `SidecarMissing` (alembic),
`ServiceUnavailable`, `AccessRefused` and `PortUnavailable` (cli).

Foreign exceptions are translated once, at the edge that calls the foreign library, with `raise … from`.
The message of an error is written for the user: what was wrong, with which value, and what to do.
"""

from __future__ import annotations


class SidecarError(Exception):
    """Base of all errors raised on purpose."""


class ConfigurationError(SidecarError):
    """One or more settings are wrong.

    `problems` holds one line each: the variable, the value, what is allowed. Secrets are not in it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InputError(SidecarError):
    """The caller's input cannot be used. `code` is stable and fit for programs; `param` names the field."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class TextRejected(InputError):
    """A text that has nothing to embed (`empty_text`), or of which the model makes no finite vector (`no_vector`)."""


class PictureRejected(InputError):
    """Bytes that cannot be turned into pixels.

    Codes: `not_a_picture`, `truncated_picture`, `unsupported_format`, `too_many_pixels`, `too_many_bytes`,
    `decode_timeout`, `decode_crashed`, `decode_out_of_memory`; `no_vector` for pixels of which the model makes none.
    """


class Overloaded(SidecarError):
    """A bounded queue is full."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyListeners(SidecarError):
    """As many clients as may follow /events do so already."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelError(SidecarError):
    """The model cannot be loaded, or its self-test failed."""


class RerankModelFailed(SidecarError):
    """The reranking model cannot be loaded. The first request after `retry_after_s` starts the next attempt."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeviceError(SidecarError):
    """The device failed while encoding."""


class DeviceOutOfMemory(DeviceError):
    """The batch did not fit into the device's memory."""


class DeviceLost(DeviceError):
    """The device is beyond recovery: the process must exit, so that another one can start over."""


class DecoderUnavailable(SidecarError):
    """No decoder process can be started, or the pool is closed. No picture is to blame."""


class DatabaseError(SidecarError):
    """Base of errors in the communication with Postgres."""


class DatabaseUnavailable(DatabaseError):
    """There is no usable connection to Postgres."""


class Contention(DatabaseError):
    """Another transaction was in the way. The same statement may be retried."""


class TimedOut(Contention):
    """The server cancelled a statement or transaction that exceeded its timeout."""


class WatchChanged(DatabaseError):
    """A watched table or column was renamed or dropped, or the watch itself is gone."""


class SchemaError(DatabaseError):
    """The schema `sidecar` is missing or of another version, or pgvector is missing or too old."""


class StatementRejected(DatabaseError):
    """Postgres rejected a statement that was run for the user. `column`: where in it, such as a filter's path."""

    def __init__(self, message: str, sqlstate: str, hint: str | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.hint = hint
        self.column = column
