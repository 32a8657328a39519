"""The keys in force while their file changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sidecar.http.key_ring import KeyRing

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"
OF_FIRST = f'[[keys]]\nkey = "{FIRST}"\nscopes = ["search"]\n'
OF_SECOND = f'[[keys]]\nkey = "{SECOND}"\nscopes = ["search"]\n'


def test_half_of_a_file_that_is_being_written_is_not_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its last key lacks the filter that would be the next line."""
    file = tmp_path / "keys"
    file.write_text(OF_FIRST)
    ring = KeyRing(file=file)
    for written in ("", OF_FIRST + "[[keys]]\nkey", OF_FIRST + OF_SECOND):
        file.write_text(written)
        ring.reload(file)
        assert [key.secret for key in ring.keys] == [FIRST]
    file.write_text(OF_FIRST + OF_SECOND + "filter = { tenant = 7 }\n")
    ring.reload(file)
    assert ring.find(SECOND) is None
    ring.reload(file)
    second = ring.find(SECOND)
    assert second is not None
    assert second.filter == {"tenant": 7}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_invalid_content_is_logged_once_and_the_keys_before_it_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(OF_FIRST)
    ring = KeyRing(file=file)
    file.write_text("[[keys]]\n")
    for _ in range(4):
        ring.reload(file)
    assert [key.secret for key in ring.keys] == [FIRST]
    assert [record.message for record in caplog.records] == [
        "API_KEYS_FILE: [[keys]] number 1: key is missing. The keys before it stay in force."
    ]
