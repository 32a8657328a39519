"""Takes secrets out of text that people will read."""

from __future__ import annotations

import re

_URL_PASSWORD = re.compile(r"(?P<user>\w[\w+.-]*://[^\s:/?#]*):(?P<secret>(?:[^\s@/]+[ \t]+)*\S*)@")
_NAMED_PASSWORD = re.compile(r"(?P<name>\b(?:ssl)?password\s*=\s*)(?P<secret>'[^']*'|[^\s&'\"]+)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE)
_NAMED_KEY = re.compile(r"(?P<name>\bapi[_-]?keys?\s*=\s*)(?P<secret>'[^']*'|[^\s&'\"]+)", re.IGNORECASE)
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")


def redact(text: str) -> str:
    """`text` with `***` for the passwords of connection strings, for Hugging Face tokens and for keys that are named.

    A password that holds an unescaped `@` or `/` is covered too: everything up to the last `@` of the word goes.
    So is one with unescaped blanks.
    """
    text = _URL_PASSWORD.sub(r"\g<user>:***@", text)
    text = _NAMED_PASSWORD.sub(r"\g<name>***", text)
    text = _NAMED_KEY.sub(r"\g<name>***", text)
    text = _CREDENTIALS.sub(r"\g<scheme> ***", text)
    return _HUB_TOKEN.sub("hf_***", text)
