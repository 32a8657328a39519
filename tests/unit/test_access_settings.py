"""Settings of access control: which values are rejected, in messages that show no key."""

from __future__ import annotations

import pytest

from sidecar.config import load_settings
from sidecar.errors import ConfigurationError

KEY = "0123456789abcdef"
ORIGINS = "origins such as https://app.example.com, separated by commas, or *"


def problems_with(**environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    return caught.value.problems


@pytest.mark.parametrize(
    "value",
    ["app.example.com", "https://app.example.com/", "https://a b", "ftp://a", "null", "*,https://a", "https://*"],
)
def test_invalid_origins_are_rejected(value: str) -> None:
    assert problems_with(CORS_ALLOW_ORIGINS=value) == [f"CORS_ALLOW_ORIGINS='{value}': {ORIGINS}"]


def test_origins_are_normalised_to_how_browsers_send_them() -> None:
    origins = load_settings({"CORS_ALLOW_ORIGINS": "https://App.Example.com, http://localhost:3000,http://[::1]:3000"})
    assert origins.cors_allow_origins == ("https://app.example.com", "http://localhost:3000", "http://[::1]:3000")
    assert load_settings({"CORS_ALLOW_ORIGINS": "*"}).cors_allow_origins == ("*",)


@pytest.mark.parametrize("keys", [{"API_KEYS": KEY}, {"API_KEYS_FILE": "/run/secrets/keys"}])
def test_anonymous_access_and_keys_contradict_each_other(keys: dict[str, str]) -> None:
    (problem,) = problems_with(ALLOW_ANONYMOUS="1", **keys)
    assert problem == "ALLOW_ANONYMOUS='1': not together with API_KEYS or API_KEYS_FILE, which ask for a key"


def test_invalid_keys_are_reported_with_all_other_problems() -> None:
    problems = problems_with(API_KEYS=f"{KEY},shop:{KEY}x", LEASE_S="soon", MAX_UPLOADS_BYTES="1048576")
    assert [problem.partition(":")[0].partition("=")[0] for problem in problems] == [
        *("LEASE_S", "MAX_UPLOADS_BYTES", "API_KEYS")
    ]
    assert not any(word in problem for problem in problems for word in (KEY, "shop"))


@pytest.mark.parametrize(
    "value", ["short", "with blanks 0123456789", "line\nfeed-0123456789", "embed,0123456789abcdef"]
)
def test_the_key_of_the_client_must_be_valid(value: str) -> None:
    assert problems_with(SIDECAR_API_KEY=value) == [
        "SIDECAR_API_KEY='***': a key of 16 or more characters, without its scopes"
    ]


def test_a_log_format_may_name_the_ids() -> None:
    layout = "%(request_id)s %(trace_id)s %(span_id)s %(message)s"
    assert load_settings({"LOG_FORMAT": layout}).log_format == layout
    assert load_settings({"LOG_FORMAT": "JSON"}).log_format == "json"


def test_no_key_shows_in_the_repr_of_the_settings() -> None:
    assert KEY not in repr(load_settings({"API_KEYS": KEY, "SIDECAR_API_KEY": KEY}))
