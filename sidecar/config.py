"""Reads and sets the environment, and nothing else does."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from sidecar.allowed_values import allowed_values
from sidecar.errors import ConfigurationError
from sidecar.settings import Settings

__all__ = [
    "Settings",
    "environment_without_secrets",
    "let_waiting_threads_sleep",
    "load_settings",
    "service_files",
    "settings_table",
    "variable_names",
]

_SECRET = re.compile(r"key|token|secret|passw|credential|dsn|_url$", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def load_settings(environ: Mapping[str, str] | None = None, *, database_url: str | None = None) -> Settings:
    """The settings in `environ`, by default the process's own. A blank variable is unset, an unknown one ignored.

    `database_url`, if it is not None, is read in place of DATABASE_URL and DATABASE_URL_FILE.

    Raises ConfigurationError with a line for every bad value: its name, the value, what is allowed. Of a secret it
    shows the scheme of its URL, and no more.
    """
    environ = os.environ if environ is None else environ
    if database_url is not None:
        environ = {**environ, "DATABASE_URL": database_url, "DATABASE_URL_FILE": ""}
    present = {name: value.strip() for name, value in environ.items() if value.strip()}
    unread = _read_url_files(present)
    source = EnvSettingsSource(Settings)
    source.env_vars = present
    values = source()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        bad = {str(detail["loc"][0]): _reason(detail) for detail in error.errors()}
    except ConfigurationError as error:
        raise ConfigurationError(unread + error.problems) from error
    else:
        if unread:
            raise ConfigurationError(unread)
        return settings
    problems = unread + [_describe(alias, present, reason) for alias, reason in bad.items()]
    good = {alias: value for alias, value in values.items() if alias not in bad}
    # What the bad ones contradict shows when they are right; what the others contradict is said now.
    try:
        Settings(**good)
    except ConfigurationError as error:
        problems += [problem for problem in error.problems if not any(alias in problem for alias in bad)]
    raise ConfigurationError(problems)


def let_waiting_threads_sleep() -> None:
    """Keeps OpenMP's threads off the CPU while they wait for each other; to be called before torch is imported.

    By default they spin, and where other processes want the CPU too a batch takes many times as long. What the user
    says with OMP_WAIT_POLICY stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def environment_without_secrets() -> dict[str, str]:
    """For a process that parses what strangers send: our settings, and whatever is called a secret, are not in it."""
    ours = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    return {name: value for name, value in os.environ.items() if name not in ours and not _SECRET.search(name)}


def service_files() -> list[Path]:
    """Where libpq looks for connection services, in its order."""
    own = os.environ.get("PGSERVICEFILE")
    shared = os.environ.get("PGSYSCONFDIR")
    files = [Path(own) if own else Path.home() / ".pg_service.conf"]
    return [*files, Path(shared) / "pg_service.conf"] if shared else files


def variable_names(field_name: str) -> list[str]:
    """The environment variables that set a field of Settings, the first that is present counts."""
    alias = Settings.model_fields[field_name].validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def settings_table() -> str:
    """All settings as a Markdown table: variable, default, what is allowed, meaning."""
    rows = ["| Variable | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for field_name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{_show(field.default)}`"
        name = variable_names(field_name)[0]
        cells = [f"`{name}`", default, allowed_values(field), field.description or ""]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _read_url_files(present: dict[str, str]) -> list[str]:
    """Puts the URLs that stand in files among the variables; returns a line for each that cannot be read."""
    problems = []
    for name in ("DATABASE_URL", "LISTEN_DATABASE_URL"):
        file = present.get(f"{name}_FILE")
        if file is None:
            continue
        try:
            url = Path(file).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}_FILE={file!r}: {getattr(error, 'strerror', None) or 'not a text'}")
            continue
        if name in present:
            problems.append(f"{name}_FILE={file!r}: not together with {name}")
        elif not url:
            problems.append(f"{name}_FILE={file!r}: the file is empty")
        else:
            present[name] = url
    return problems


def _reason(detail: ErrorDetails) -> str | None:
    """What a check of ours said of a database's URL. Others say nothing that is not among what is allowed."""
    error = detail.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ValueError) and str(detail["loc"][0]).endswith("DATABASE_URL") else None


def _describe(alias: str, present: Mapping[str, str], reason: str | None = None) -> str:
    field_name = next(name for name in Settings.model_fields if alias in variable_names(name))
    field = Settings.model_fields[field_name]
    variable = next(name for name in variable_names(field_name) if name in present)
    value = present[variable]
    if SecretStr in getattr(field.annotation, "__args__", ()):
        scheme = _SCHEME.match(value)
        value = (scheme.group() if scheme else "") + "***"
    return f"{variable}={_shorten(value)!r}: {allowed_values(field)}" + (f" ({reason})" if reason else "")


def _shorten(value: str) -> str:
    return value if len(value) <= 100 else value[:100] + "…"


def _show(default: object) -> str:
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)
