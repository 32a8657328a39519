"""The content of `API_KEYS_FILE`: lines, or TOML once a key has more than scopes."""

from __future__ import annotations

import re

from sidecar.api_keys.described import parse_described
from sidecar.api_keys.key import ApiKey
from sidecar.api_keys.lines import parse_lines

# A line that no file of lines contains: it is too short to be a key, and has a blank before any comment.
_TOML = re.compile(r"^[ \t]*\[\[[ \t]*keys[ \t]*\]\][ \t]*(\s#.*)?\r?$", re.MULTILINE)


def parse_file(content: str) -> list[ApiKey]:
    """The keys of a file. Raises ConfigurationError, which never quotes a key."""
    content = content.removeprefix("\N{BYTE ORDER MARK}")
    return parse_described(content) if _TOML.search(content) else parse_lines(content)
