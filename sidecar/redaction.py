"""Takes secrets out of text that people will read."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What strangers send stands in texts too: every repetition has an end, so that no text takes the square of its length.
_URL_PASSWORD = re.compile(
    r"(?P<user>\b\w[\w+.-]{0,30}://[^\s:/?#]{0,256}):(?P<secret>(?:[^\s@/]{1,256}[ \t]{1,4}){0,8}\S{0,8192})@"
)
_NAMED_PASSWORD = re.compile(
    r"(?P<name>\b(?:ssl)?(?:password\w{0,9}|passwd|pass|pwd)[ \t]{0,9}=[ \t]{0,9})(?P<secret>'[^']*(?:'|$)|[^\s&'\"]+)",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE)
_NAMED_KEY = re.compile(
    r"(?P<name>\bapi[_-]?keys?[ \t]{0,9}=[ \t]{0,9})(?P<secret>'[^']*(?:'|$)|[^\s&'\"]+)", re.IGNORECASE
)
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
_MAX_LINE_CHARS = 8192
# In this order; each with words, one of which is in every text that it fits.
_SECRETS = (
    (("://",), _URL_PASSWORD, r"\g<user>:***@"),
    (("pass", "pwd"), _NAMED_PASSWORD, r"\g<name>***"),
    (("apikey", "api_key", "api-key"), _NAMED_KEY, r"\g<name>***"),
    (("bearer", "basic"), _CREDENTIALS, r"\g<scheme> ***"),
    (("hf_",), _HUB_TOKEN, "hf_***"),
)


def redact(text: str) -> str:
    """`text` with `***` for the passwords of connection strings, for Hugging Face tokens and for keys that are named.

    A password that holds an unescaped `@` or `/` is covered too: everything up to the last `@` of the word goes.
    So is one with unescaped blanks. Lines of more than 8,192 characters lose their end.
    """
    lower = text.lower()
    # Nearly every text holds no secret, and looking for a word costs a hundredth of looking for a pattern.
    present = [(pattern, put) for words, pattern, put in _SECRETS if any(word in lower for word in words)]
    if not present and len(text) <= _MAX_LINE_CHARS:
        return text
    return "\n".join(_redact_line(line, present) for line in text.split("\n"))


def _redact_line(line: str, present: Sequence[tuple[re.Pattern[str], str]]) -> str:
    if len(line) > _MAX_LINE_CHARS:
        line = f"{line[:_MAX_LINE_CHARS]}…"
    for pattern, replacement in present:
        line = pattern.sub(replacement, line)
    return line
