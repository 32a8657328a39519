"""The API keys in force, reloaded when their file changes."""

from __future__ import annotations

import asyncio
import hmac
import logging
from pathlib import Path

from pydantic import SecretStr

from sidecar.api_keys.key import ApiKey, digest_of, require_distinct
from sidecar.api_keys.keys_file import parse_file
from sidecar.api_keys.lines import parse_variable
from sidecar.errors import ConfigurationError
from sidecar.telemetry.logs.configuration import hide_in_logs

logger = logging.getLogger(__name__)

_RELOAD_INTERVAL_S = 0.5
_MAX_FILE_BYTES = 1024 * 1024


class KeyRing:
    """The keys of `API_KEYS` (`variable`) and `API_KEYS_FILE`. Raises ConfigurationError if they cannot be read.

    If the file's new content is invalid, the keys before it stay in force.
    """

    def __init__(self, variable: SecretStr | None = None, file: Path | None = None) -> None:
        self._fixed = parse_variable(variable.get_secret_value()) if variable is not None else []
        self._file = file
        self._content = b""
        self._seen = b""  # when the file was last read
        self._problem: str | None = None
        self._keys: tuple[ApiKey, ...] = tuple(self._fixed)
        if file is not None:
            self._content = self._seen = _read(file)
            self._use(self._content)
        hide_in_logs(key.secret for key in self._keys)

    def __bool__(self) -> bool:
        """Whether there are any keys, so that requests need one."""
        return bool(self._keys)

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """The keys in force: another tuple after each change."""
        return self._keys

    def still_has(self, key: ApiKey | None) -> bool:
        """Whether a key that was found earlier is still in force; None: whether there are still no keys."""
        return not self._keys if key is None else key in self._keys

    def find(self, secret: str) -> ApiKey | None:
        """The key whose secret this is, or None. Takes the same time for all, however much of a secret is right."""
        presented = digest_of(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, presented):
                found = key
        return found

    async def follow_file(self) -> None:
        """Reloads the file every half second, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(_RELOAD_INTERVAL_S)
            await asyncio.to_thread(self.reload, self._file)
        await asyncio.Event().wait()

    def reload(self, file: Path) -> None:
        """Puts the file's content in force if it is new, and what it was at the reload before.

        Half of a file that is being written may be valid: a key without the filter that comes next.
        """
        try:
            content, before = _read(file), self._seen
            self._seen = content
            if content not in {self._content, before}:
                return
            if content != self._content:
                self._use(content)
                self._content = content
                logger.info("API_KEYS_FILE was read again: %d keys are in force.", len(self._keys))
            problem = None
        except ConfigurationError as error:
            problem = str(error)
        if problem not in {None, self._problem}:
            logger.error("%s. The keys before it stay in force.", problem)
        self._problem = problem

    def _use(self, content: bytes) -> None:
        try:
            keys = [*self._fixed, *parse_file(content.decode("utf-8-sig"))]
        except UnicodeDecodeError as error:
            raise ConfigurationError(["API_KEYS_FILE: its content is not UTF-8"]) from error
        require_distinct(keys)
        hide_in_logs(key.secret for key in keys)
        self._keys = tuple(keys)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError([f"API_KEYS_FILE='{file}': it cannot be read: {error.strerror or error}"]) from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigurationError([f"API_KEYS_FILE='{file}': more than {_MAX_FILE_BYTES} bytes"])
    return content
