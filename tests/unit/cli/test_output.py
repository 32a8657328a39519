"""Text, tables and JSON on stdout."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from sidecar.cli.output import echo, print_json, shorten, show, show_duration, show_size, show_wait


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ({"bytes": 5}, "5 bytes"),
        (0.123456789, "0.1235"),
        (7, "7"),
        ("a\nb\x1b[31mc\td", "a b [31mc d"),
        ("x" * 71, "x" * 69 + "…"),
        ("x" * 70, "x" * 70),
    ],
)
def test_a_cell_is_short_and_on_one_line(value: object, shown: str) -> None:
    assert show(value) == shown


def test_sizes_have_the_unit_that_fits() -> None:
    assert [show_size(size) for size in (0, 1023, 1024, 1024**2 - 1, 3 * 1024**2, 1024**3, 1536 * 1024**4)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KB",
        "1024.0 KB",
        "3.0 MB",
        "1.0 GB",
        "1,536.0 TB",
    ]


def test_a_line_is_cut_at_its_limit() -> None:
    assert shorten("abcdef", 3) == "ab…"


@dataclass
class Row:
    name: str
    at: datetime


def test_json_is_one_line_with_dataclasses_as_objects_and_iso_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json([Row("ä", datetime(2026, 1, 2, tzinfo=UTC))])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == [{"name": "ä", "at": "2026-01-02T00:00:00+00:00"}]


@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({}, "broken\n"),
        ({"FORCE_COLOR": "1"}, "\x1b[31mbroken\x1b[0m\n"),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "broken\n"),
    ],
)
def test_without_a_terminal_colours_are_printed_only_if_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], printed: str
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    echo("broken", "red")
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "less than a second"),
        (1, "about 1 second"),
        (90, "about 90 seconds"),
        (150, "about 2 minutes"),
        (7200, "about 2 hours"),
        (200_000, "about 2 days"),
        (90_000_000, "about 3 years"),
    ],
)
def test_a_duration_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_what_is_waited_for_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        with show_wait("Verifying a[/b] …") as tell:
            tell("Verifying a[/b]\x1b[31m\nc: 1 row …")
    printed = b""
    with suppress(OSError):  # Linux's way to say that all has been read, and the other end is closed
        while part := os.read(master, 1 << 16):
            printed += part
    os.close(master)
    assert "Verifying a[/b] [31m c: 1 row …" in printed.decode()


def test_waiting_prints_nothing_that_a_program_would_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with show_wait("Watching products …"):
        pass
    assert capsys.readouterr() == ("", "")
