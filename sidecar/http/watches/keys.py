"""Keys of rows in requests: an object of the key columns, or the value of the only one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson
from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr

from sidecar.errors import InputError

_MAX_EXACT = 2**53  # a larger float may have been an integer with more digits
_MAX_KEY_CHARS = 10_000  # more than a key in a btree index can have

KeyValue: TypeAlias = StrictStr | StrictBool | StrictInt | StrictFloat


def parse_key(text: str, param: str) -> KeyValue | dict[str, KeyValue]:
    """A key in JSON. Raises InputError (`wrong_key`)."""
    try:
        key: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"""`{param}` is not JSON: {error}. Send {{"id": 7}}, or the value of the only key column."""
        raise InputError("wrong_key", message, param) from error
    values = list(key.values()) if isinstance(key, dict) else [key]
    if not all(isinstance(value, str | bool | int | float) for value in values):
        message = f"""`{param}` must be a value, or an object of values such as {{"id": 7}}."""
        raise InputError("wrong_key", message, param)
    return key  # type: ignore[return-value] # as was checked


def key_object(
    key: KeyValue | Mapping[str, KeyValue], key_columns: Sequence[str], param: str
) -> Mapping[str, KeyValue]:
    """The key as an object of all key columns. Raises InputError (`wrong_key`), which calls it `param`."""
    if not isinstance(key, Mapping):
        if len(key_columns) > 1:
            wanted = ", ".join(f'"{name}": …' for name in key_columns)
            raise InputError("wrong_key", f"`{param}` must be an object of the key columns: {{{wanted}}}.", param)
        key = {key_columns[0]: key}
    if key.keys() != set(key_columns):
        names = ", ".join(repr(name[:200]) for name in key)
        message = f"`{param}` names {names or 'no column'}; the key columns are {', '.join(key_columns)}."
        raise InputError("wrong_key", message, param)
    for value in key.values():
        if isinstance(value, float) and abs(value) > _MAX_EXACT:
            message = f"`{param}` is a number that JSON does not carry exactly. Send it as a string."
            raise InputError("wrong_key", message, param)
        if isinstance(value, str) and "\0" in value:
            message = f"`{param}` contains the character NUL (U+0000), which no key in Postgres has."
            raise InputError("wrong_key", message, param)
        if isinstance(value, str) and len(value) > _MAX_KEY_CHARS:
            message = f"`{param}` has {len(value)} characters; at most {_MAX_KEY_CHARS} are compared."
            raise InputError("wrong_key", message, param)
    return key
