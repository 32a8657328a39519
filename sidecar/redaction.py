"""Takes secrets out of text that people will read."""

from __future__ import annotations

import re

_URL_PASSWORD = re.compile(r"(?P<user>\w[\w+.-]*://[^\s:/?#]*):(?P<secret>(?:[^\s@/]+[ \t]+)*\S*)@")
_NAMED_PASSWORD = re.compile(r"(?P<name>\b(?:ssl)?password\s*=\s*)(?P<secret>'[^']*'|[^\s&'\"]+)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[\w.~+/=-]{16,}", re.IGNORECASE)
_NAMED_KEY = re.compile(r"(?P<name>\bapi[_-]?keys?\s*=\s*)(?P<secret>'[^']*'|[^\s&'\"]+)", re.IGNORECASE)
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
# In this order; each with words, one of which is in every text that it fits.
_SECRETS = (
    (("://",), _URL_PASSWORD, r"\g<user>:***@"),
    (("password",), _NAMED_PASSWORD, r"\g<name>***"),
    (("apikey", "api_key", "api-key"), _NAMED_KEY, r"\g<name>***"),
    (("bearer", "basic"), _CREDENTIALS, r"\g<scheme> ***"),
    (("hf_",), _HUB_TOKEN, "hf_***"),
)


def redact(text: str) -> str:
    """`text` with `***` for the passwords of connection strings, for Hugging Face tokens and for keys that are named.

    A password that holds an unescaped `@` or `/` is covered too: everything up to the last `@` of the word goes.
    So is one with unescaped blanks.
    """
    lower = text.lower()
    # Nearly every text holds no secret, and looking for a word costs a hundredth of looking for a pattern.
    for words, pattern, replacement in _SECRETS:
        if any(word in lower for word in words):
            text = pattern.sub(replacement, text)
    return text
