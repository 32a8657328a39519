"""A database without faults, and the commands of its operator."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.command_line import CommandLine
from tests.integration.sql.queue import finish_backfill, run_a_sidecar
from tests.integration.sql.session import Connection, run, value

DIMENSIONS = 3
_WATCHES = """
    create table items (id bigint primary key, title text);
    insert into items select i, 'item ' || i from generate_series(1, 10) i;
    select sidecar.watch('items', source => 'title', target => 'e', dimensions => 3);
    select sidecar.watch('items', source => 'title', target => 'v', companion => 'vectors', dimensions => 3,
                         storage => 'halfvec');
"""
_AS_A_SIDECAR = """
    set sidecar.writer = 'on';
    update items set e = array[id, 1, 2]::real[]::vector;
    insert into vectors (id, v) select id, e from items;
    reset sidecar.writer;
    insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest)
        select id, nextval('sidecar_internal.generation'), sha256(convert_to(title, 'UTF8')), sha256(vector_send(e))
            from items;
    insert into sidecar_internal.ledger_2 select * from sidecar_internal.ledger_1;
    update sidecar_internal.ledger_2 l set vector_digest = sha256(halfvec_send(v)) from vectors h where h.id = l.k1;
    update sidecar_internal.watches set fingerprint = 'f', encoder = 'm';
    update sidecar_internal.progress set embedded_total = 10;
    analyze items; analyze vectors;
"""


def make_healthy(db: Connection) -> None:
    """Makes watch 1 with vectors in the row and watch 2 with halves in a companion, both embedded and indexed."""
    run(db, _WATCHES)
    run(db, _AS_A_SIDECAR)
    for watch_id in (1, 2):
        finish_backfill(db, watch_id)
        script = value(db, "select index_statement from sidecar.status where watch_id = %s", watch_id)
        run_script(db, script)
    run_a_sidecar(db)


def run_script(db: Connection, script: str) -> None:
    """Runs statements one by one, outside a transaction, like psql."""
    for statement in filter(str.strip, script.split(";")):
        db.execute(statement.encode())


def examine(command_line: CommandLine, *options: str, code: int | None = None) -> dict[str, Any]:
    """The output of `sidecar doctor --json`, whose exit code must fit it."""
    outcome = command_line("doctor", "--json", *options)
    assert outcome.stderr == ""
    found: dict[str, Any] = json.loads(outcome.stdout)
    expected = 3 if any(f["severity"] != "note" for f in found["findings"]) else 0
    assert outcome.code == (expected if code is None else code), outcome
    return found


def checks(found: dict[str, Any]) -> list[str]:
    return sorted(finding["check"] for finding in found["findings"])


def mend(database_url: str, found: dict[str, Any]) -> None:
    """Runs the remedies of the findings, each once, in a new session."""
    with psycopg.connect(database_url, autocommit=True) as session:
        for remedy in dict.fromkeys(finding["remedy"] for finding in found["findings"]):
            run_script(session, remedy)
