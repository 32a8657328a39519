"""Secrets are replaced in texts."""

import time

import pytest

from sidecar.redaction import redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://ann:s3cret@db:5432/shop", "postgresql://ann:***@db:5432/shop"),
        ("postgresql://ann:s3c@ret/x@db/shop is down", "postgresql://ann:***@db/shop is down"),
        ("postgresql://ann:s 3 cret@db/shop is down", "postgresql://ann:***@db/shop is down"),
        ("postgresql://:s3cret@db/shop", "postgresql://:***@db/shop"),
        ("host=db password=s3cret user=ann", "host=db password=*** user=ann"),
        ("host=db password = 's3 cret' user=ann", "host=db password = *** user=ann"),
        ("postgresql://db/shop?user=ann&password=s3cret&sslmode=require", "postgresql://db/shop?user=ann&password=***&sslmode=require"),
        ("postgresql://db/shop?passwordd=s3cret&pwd=s3cret&passwd=s3cret", "postgresql://db/shop?passwordd=***&pwd=***&passwd=***"),
        ("header: Bearer hf_abcdefghijkl", "header: Bearer hf_***"),
        ("authorization: bearer sk-abc.def_0123456789", "authorization: bearer ***"),
        ("authorization: Basic YW5uOnMzY3JldHMzY3JldA==", "authorization: Basic ***"),
        ("GET /search?api_key=s3cret&k=1", "GET /search?api_key=***&k=1"),
        ("API_KEYS=embed:s3cret0123456789,x", "API_KEYS=***"),
    ],
)  # fmt: skip
def test_secrets_are_replaced(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9000/embed/text",
        "postgresql://ann@db:5432/shop",
        "hf-hub:timm/ViT",
        "the bearer of this",
        "at 10:30 ann@example.org",
        "postgresql://db:5432/shop is down, ann@example.org knows",
    ],
)
def test_text_without_secrets_is_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["/" + "a+" * 30_000 + "://", "a://:" * 30_000, "a://:x y " * 10_000 + "@", "password=" * 10_000, "'" * 60_000],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    assert len(redact(text)) < 10_000
    assert time.process_time() - began < 0.5


def test_a_password_may_be_a_long_token() -> None:
    assert redact("postgresql://ann:" + "Aw%3D" * 1200 + "@db/shop is down") == "postgresql://ann:***@db/shop is down"


def test_a_secret_in_each_of_many_lines_is_replaced() -> None:
    lines = ["postgresql://ann:s3cret@db/shop is down"] * 1000
    assert redact("\n".join(lines)) == "\n".join(["postgresql://ann:***@db/shop is down"] * 1000)
