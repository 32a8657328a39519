"""The only reader and writer of the environment: settings, and what other libraries look for in it."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from sidecar.cpus import count_cpus_of_quota
from sidecar.errors import ConfigurationError
from sidecar.settings import Settings
from sidecar.spelling import find_misspelt

__all__ = [
    "Settings",
    "adopt_variables",
    "environment_without_secrets",
    "load_settings",
    "misspelt_variables",
    "own_temporary_directory",
    "serve_bypasses_proxies",
    "service_files",
    "set_compiler_defaults",
    "set_openmp_defaults",
    "set_ray_defaults",
    "settings_table",
    "variable_names",
    "variables_for_replicas",
]

_SECRET = re.compile(r"key|token|secret|passw|credential|dsn|_url$", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def load_settings(environ: Mapping[str, str] | None = None, *, database_url: str | None = None) -> Settings:
    """The settings in `environ`, by default the process's own. A blank variable is unset, an unknown one ignored.

    `database_url`, if it is not None, is read in place of DATABASE_URL and DATABASE_URL_FILE.

    Raises ConfigurationError with a line for every bad value: its name, the value, what is allowed. Of a secret, a line
    shows at most the scheme of its URL.
    """
    environ = os.environ if environ is None else environ
    if database_url is not None:
        environ = {**environ, "DATABASE_URL": database_url, "DATABASE_URL_FILE": ""}
    present = {name: value.strip() for name, value in environ.items() if value.strip()}
    unread = _load_url_files(present)
    source = EnvSettingsSource(Settings)
    source.env_vars = present
    values = source()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        # A default that follows from other settings is missing if one of these is bad, and is not bad itself.
        details = [detail for detail in error.errors() if detail["type"] != "default_factory_not_called"]
        bad = {str(detail["loc"][0]): _reason(detail) for detail in details}
    except ConfigurationError as error:
        raise ConfigurationError(unread + error.problems) from error
    else:
        if unread:
            raise ConfigurationError(unread)
        return settings
    problems = unread + [_describe(alias, present, reason) for alias, reason in bad.items()]
    good = {alias: value for alias, value in values.items() if alias not in bad}
    # Report contradictions among the good values now; those with bad ones show once they are corrected.
    try:
        Settings(**good)
    except ConfigurationError as error:
        problems += [problem for problem in error.problems if not any(alias in problem for alias in bad)]
    raise ConfigurationError(problems)


def misspelt_variables() -> list[str]:
    """A sentence for each variable of the environment whose name is nearly that of a setting, which is not set."""
    known = [name for field_name in Settings.model_fields for name in variable_names(field_name)]
    found = find_misspelt((name for name in os.environ if not name.startswith("PG")), known)
    return [f"{name} is not a setting: did you mean {meant}?" for name, meant in found.items()]


def set_openmp_defaults(root: Path = Path("/")) -> None:
    """How OpenMP's threads wait and how many there are. Call it before torch is imported. A user's own values stay.

    By default they spin while they wait, and a batch takes many times as long if other processes need the CPU. And they
    are as many as the process's CPUs, although a container's quota may be that of fewer. `root`: see count_cpus.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threads = count_cpus_of_quota(root)
    if threads is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def set_compiler_defaults() -> None:
    """Where torch.compile and Triton keep what they build, and with how many processes. A user's own values stay.

    Their directories are named after the user or are in the home directory, and the user id of a container often has
    neither; ours is named after the id. Their processes, one for each CPU, would stay until the sidecar ends: none.
    """
    directory = own_temporary_directory(f"sidecar-compiled-{os.geteuid()}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(directory))
    os.environ.setdefault("TRITON_CACHE_DIR", str(directory / "triton"))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def own_temporary_directory(name: str) -> Path:
    """A directory for temporary files, kept for the next start; a new one if another user could write into that."""
    directory = Path(tempfile.gettempdir()) / name
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return directory if is_own else Path(tempfile.mkdtemp(prefix=f"{name}-"))


def variables_for_replicas() -> dict[str, str]:
    """The variables that a process started elsewhere on our behalf needs: our settings and libpq's, as they are set.

    Without those that name an address of this process.
    """
    ours = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    ours -= {"BIND_HOST", "BIND_PORT", "PORT"}
    return {name: value for name, value in os.environ.items() if name in ours or name.startswith("PG")}


def adopt_variables(variables: Mapping[str, str]) -> None:
    """Sets the variables for this process. Those it has beside them stay."""
    os.environ.update(variables)


def set_ray_defaults() -> None:
    """Ray reports its use to its makers unless told otherwise. A user's own values stay."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the future behaviour, of which it warns


def serve_bypasses_proxies() -> bool:
    """Whether Ray Serve has replicas listen themselves, so that they cannot tell where a request came from."""
    return "1" in {os.environ.get("RAY_SERVE_ENABLE_HA_PROXY"), os.environ.get("RAY_SERVE_ENABLE_DIRECT_INGRESS")}


def environment_without_secrets() -> dict[str, str]:
    """The environment for processes that parse untrusted input: without our settings, and without named secrets."""
    ours = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    return {name: value for name, value in os.environ.items() if name not in ours and not _SECRET.search(name)}


def service_files() -> list[Path]:
    """Where libpq looks for connection services, in its order."""
    own = os.environ.get("PGSERVICEFILE")
    shared = os.environ.get("PGSYSCONFDIR")
    files = [Path(own) if own else Path.home() / ".pg_service.conf"]
    return [*files, Path(shared) / "pg_service.conf"] if shared else files


def variable_names(field_name: str) -> list[str]:
    """The environment variables of a field of Settings; the first that is set counts."""
    alias = Settings.model_fields[field_name].validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def settings_table() -> str:
    """All settings as a Markdown table: variable, default, what is allowed, meaning."""
    rows = ["| Variable | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for field_name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{_show(field.default)}`"
        name = variable_names(field_name)[0]
        cells = [f"`{name}`", default, _allowed_values(field), field.description or ""]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _load_url_files(present: dict[str, str]) -> list[str]:
    """Adds the URLs in `…_FILE` to `present`. Returns a line for each file that cannot be used."""
    problems = []
    for name in ("DATABASE_URL", "LISTEN_DATABASE_URL", "SEARCH_DATABASE_URL"):
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
    """The hint of `check_database_url`. Other checks say nothing beyond the allowed values."""
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
    return f"{variable}={_shorten(value)!r}: {_allowed_values(field)}" + (f" ({reason})" if reason else "")


def _shorten(value: str) -> str:
    return value if len(value) <= 100 else value[:100] + "…"


def _show(default: object) -> str:
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)


def _allowed_values(field: FieldInfo) -> str:
    """The values a setting takes, from the types and bounds that check it: `a whole number from 1 to 65535`.

    `json_schema_extra={"allowed": …}` of a field takes precedence.
    """
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if kind is bool:
        return "1 or 0 (or true/false, yes/no, on/off)"
    if kind is int:
        return "a whole number" + _bounds(field.metadata)
    if kind is float:
        return "a number" + _bounds(field.metadata)
    return "any text that is not blank"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _bounds(metadata: list[Any]) -> str:
    words = ""
    for bound in metadata:
        match bound:
            case annotated_types.Gt(gt=value):
                words += f" above {value} and"
            case annotated_types.Ge(ge=value):
                words += f" from {value}"
            case annotated_types.Le(le=value):
                words += f" up to {value}"
            case annotated_types.Lt(lt=value):
                words += f" to below {value}"
            case _:
                pass
    return words
