"""Removal of secrets from texts such as log lines and error messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Texts quote untrusted input: every repetition is bounded, so that no text takes quadratic time.
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
# Applied in this order. Words, pattern, replacement: every text that matches contains one of the words.
_SECRETS = (
    (("://",), _URL_PASSWORD, r"\g<user>:***@"),
    (("pass", "pwd"), _NAMED_PASSWORD, r"\g<name>***"),
    (("apikey", "api_key", "api-key"), _NAMED_KEY, r"\g<name>***"),
    (("bearer", "basic"), _CREDENTIALS, r"\g<scheme> ***"),
    (("hf_",), _HUB_TOKEN, "hf_***"),
)


def redact(text: str) -> str:
    """`text` with `***` in place of passwords in connection strings, Hugging Face tokens and named keys.

    That includes passwords with an unescaped `@` or `/`, up to the last `@` of the word, and with unescaped blanks.
    Lines are cut after 8,192 characters.
    """
    lower = text.lower()
    # Most texts contain no secret, and searching for a word costs a hundredth of matching a pattern.
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
