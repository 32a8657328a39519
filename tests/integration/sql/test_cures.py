"""sidecar.failures_by_reason says what cures the rows: what to change, which rows, and a retry where one can help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sidecar
from sidecar.ingest.encoding import PERMANENT
from tests.integration.sql.queue import fail
from tests.integration.sql.session import Connection, run, value, warnings_of

ONLY_OTHER_CONTENT_HELPS = {"not_a_picture", "truncated_picture", "unsupported_format"}
REASONS = (
    *sorted(PERMANENT),
    *("decode_timeout", "decode_crashed", "decode_out_of_memory", "device_error", "device_out_of_memory"),
    *("worker_crashed", "read_rejected", "write_rejected", "write_suppressed"),
)
CURES = "select advice, rows_statement, retry_statement from sidecar.failures_by_reason"


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_advice_of_its_own_and_a_retry_only_where_one_can_help(db: Connection, reason: str) -> None:
    run(db, "create table items (id int primary key, photo bytea); insert into items values (1, 'x'), (2, 'y')")
    watch_id = value(db, "select sidecar.watch('items', 'photo', target => 'e', dimensions => 3)")
    fail(db, watch_id, 2, reason)
    [(advice, rows_statement, retry_statement)] = run(db, CURES)
    assert advice != value(db, "select sidecar_internal.advice_on('another')")
    [(key, *_, message)] = run(db, rows_statement)
    assert (key, message) == (2, "not an image")
    if reason in ONLY_OTHER_CONTENT_HELPS:
        assert retry_statement is None
        assert "retry" not in advice
        run(db, "update items set photo = 'z' where id = 2")
    else:
        assert value(db, retry_statement) == 1
    assert run(db, f"select k1 from sidecar_internal.events_{watch_id} where k1 = 2")


def test_a_retry_that_cannot_help_is_done_and_names_the_rows_and_what_helps(db: Connection) -> None:
    run(
        db,
        "create table items (id int primary key, photo bytea); insert into items values (1, 'x'), (2, 'y'), (3, 'z')",
    )
    watch_id = value(db, "select sidecar.watch('items', 'photo', target => 'e', dimensions => 3)")
    fail(db, watch_id, 1, "not_a_picture")
    fail(db, watch_id, 2, "truncated_picture")
    fail(db, watch_id, 3, "worker_crashed")
    with warnings_of(db) as heard:
        assert value(db, "select sidecar.retry('items')") == 3
    assert [message.splitlines()[0] for message in heard] == [
        "1 row of public.items.e failed with not_a_picture, and will fail again until the content changes",
        "1 row of public.items.e failed with truncated_picture, and will fail again until the content changes",
    ]
    for message, key in zip(heard, (1, 2), strict=True):
        advice, _, statement = message.splitlines()[1].partition("To find the rows: ")
        assert "set it to NULL" in advice
        assert [row[0] for row in run(db, statement)] == [key]
    with warnings_of(db) as heard:
        assert value(db, "select sidecar.retry('items', reason => 'worker_crashed')") == 1
        assert value(db, """select sidecar.retry('items', key => '{"id": 3}')""") == 1
    assert heard == []


def test_a_retry_of_a_reason_that_no_row_has_says_which_there_are(db: Connection) -> None:
    run(db, "create table items (id int primary key, photo bytea); insert into items values (1, 'x'), (2, 'y')")
    watch_id = value(db, "select sidecar.watch('items', 'photo', target => 'e', dimensions => 3)")
    retry = "select sidecar.retry('items', reason => 'not_a_pictur')"
    with warnings_of(db) as heard:
        assert value(db, retry) == 0
        fail(db, watch_id, 1, "not_a_picture")
        fail(db, watch_id, 2, "decode_timeout")
        assert value(db, retry) == 0
    unknown = "no row of public.items.e failed with the reason 'not_a_pictur'"
    assert heard == [
        f"{unknown}\nIt has no failures.",
        f"{unknown}\nReasons of its failures: decode_timeout, not_a_picture.",
    ]


def test_every_reason_of_the_code_is_among_them() -> None:
    package = Path(sidecar.__file__).parent
    code = "".join(path.read_text() for wing in ("ingest", "postgres") for path in (package / wing).glob("*.py"))
    found = set(re.findall(r'"((?:device|write|read|worker|decode)_[a-z_]*(?:ed|error|memory|out))"', code))
    pictures = "".join(path.read_text() for path in (package / "pictures").rglob("*.py"))
    found |= set(re.findall(r'PictureRejected\(\s*"(\w+)"', pictures))
    assert found
    assert found <= set(REASONS), found - set(REASONS)


KEYS = {
    "bigint": "7",
    "text": """'it''s "7"'""",
    "uuid": "'00000000-0000-0000-0000-000000000007'",
    "timestamptz": "'2026-01-02 03:04:05.678+00'",
    "numeric": "7.50",
    "double precision": "0.1",
    "bytea": r"'\xdead'",
    "jsonb": """'{"a": [1, "x"]}'""",
    "character(3)": "'a'",
    "mood": "'so so'",
    "interval": "'1 day 02:03:04'",
}


@pytest.mark.parametrize("key_type", KEYS)
def test_the_rows_are_found_by_keys_of_every_type(db: Connection, key_type: str) -> None:
    run(db, "create type mood as enum ('so so')")
    run(db, f"""create table "The items" ("key's" {key_type}, nr int, "Title" text, primary key ("key's", nr))""")
    watch_id = value(db, """select sidecar.watch('"The items"', 'Title', target => 'e', dimensions => 3)""")
    run(db, f"""insert into "The items" values ({KEYS[key_type]}, 2, 'a')""")
    run(
        db,
        "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message) "
        f"""select {watch_id}, jsonb_build_object('key''s', t."key's", 'nr', t.nr), 1, 5, 'no_vector', 'none' """
        """from "The items" t""",
    )
    [(_, rows_statement, _)] = run(db, CURES)
    [(_, nr, title, message)] = run(db, rows_statement)
    assert (nr, title, message) == (2, "a", "none")
