"""`sidecar doctor` finds nothing in a healthy database, and each planted fault, which its remedy repairs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.checkup import check_database, check_statements
from sidecar.operations.findings import Limits
from tests.command_line import CommandLine
from tests.integration.operators.faults import FAULTS
from tests.integration.operators.healthy import checks, examine, make_healthy, mend, run_script
from tests.integration.pooler.pgbouncer import PROGRAM, pgbouncer
from tests.integration.sql.session import Connection, another_session, run
from tests.servers import Server

WATCH = (
    "select sidecar.watch('public.items', source => array['title'], target => 'e', kind => 'text', "
    "companion => NULL, dimensions => 3, model => NULL, index => 'halfvec')"
)


@pytest.fixture
def db(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        make_healthy(connection)
        yield connection


@pytest.fixture
def worker(db: Connection, database_url: str) -> Iterator[str]:
    """The name for a role, which the test may create; roles belong to the whole server, so it is dropped."""
    name = f"worker_{db.info.dbname}"
    yield name
    if db.execute("select from pg_roles where rolname = %s", [name]).fetchone():
        for command in ("drop owned by {}", "drop role {}"):
            db.execute(sql.SQL(command).format(sql.Identifier(name)))


def test_a_healthy_database_has_no_finding(db: Connection, command_line: CommandLine) -> None:
    found = examine(command_line, "--long-transaction-s", "0")
    assert found["findings"] == []
    assert found["not_checked"] == []
    facts = found["facts"]
    assert (facts["notified_ms"] > 0, facts["pgvector_schema"], facts["pooler"]) == (True, "public", None)
    server, verdict = command_line.succeed("doctor").splitlines()
    assert server.startswith(
        f"PostgreSQL {facts['server']}, pgvector {facts['pgvector']} in schema public, schema sidecar"
    )
    assert verdict == "No problems found."


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_its_remedy_repairs_it(
    db: Connection, database_url: str, worker: str, command_line: CommandLine, name: str
) -> None:
    fault = FAULTS[name]
    plant(db, fault.plant, worker)
    found = examine(command_line)
    assert (checks(found), found["not_checked"]) == (list(fault.expected), []), found
    assert {finding["run_in"] for finding in found["findings"]} == {"psql" if fault.in_psql else "shell"}
    if fault.in_psql:
        mend(database_url, found)
    run(db, fault.meanwhile)
    assert examine(command_line)["findings"] == []


def test_every_check_has_a_planted_fault() -> None:
    planted = {check for fault in FAULTS.values() for check in fault.expected}
    elsewhere = {"sql_embed", "long_transactions", "replication_slots", "prepared_transactions", "lock_budget", "texts"}
    assert planted | elsewhere == set(check_statements())


def test_an_old_transaction_is_found_and_ended(db: Connection, database_url: str, command_line: CommandLine) -> None:
    with another_session(database_url, autocommit=False) as forgotten:
        run(forgotten, "insert into items values (11, 'x')")
        assert examine(command_line)["findings"] == []
        found = examine(command_line, "--long-transaction-s", "0")
        assert checks(found) == ["long_transactions"]
        assert "insert into items" in found["findings"][0]["what"]
        mend(database_url, found)
        with pytest.raises(psycopg.OperationalError):
            run(forgotten, "select 1")
    assert examine(command_line, "--long-transaction-s", "0")["findings"] == []


def test_an_inactive_replication_slot_is_found_and_dropped(db: Connection, database_url: str) -> None:
    name = "forgotten_slot"
    db.execute("select pg_create_physical_replication_slot(%s, true)", [name])
    try:
        assert check_database(db, Limits()).findings == []
        run(db, "insert into items values (11, 'x')")
        (finding,) = check_database(db, Limits(slot_lag_bytes=1)).findings
        assert finding.check == "replication_slots"
        run_script(db, finding.remedy)
        assert check_database(db, Limits(slot_lag_bytes=1)).findings == []
    finally:
        run(db, "select pg_drop_replication_slot(slot_name) from pg_replication_slots")


def test_a_wrong_local_clock_is_found(db: Connection) -> None:
    (finding,) = check_database(db, Limits(), clock=lambda: time.time() + 60).findings
    assert (finding.check, finding.remedy) == ("clock", "sudo chronyc makestep")
    assert finding.what.startswith("its clock is 60.0 s ahead")
    assert check_database(db, Limits(), clock=lambda: time.time() - 4).findings == []


def test_a_watch_with_other_dimensions_than_its_model_is_advised_of_the_models_dimensions(db: Connection) -> None:
    """Its remedy was `VISION_MODEL_ID=f` once: the fingerprint that runs already, which is no model's name."""
    run(db, "update sidecar_internal.sidecars set dimensions = 4")
    named = "(select min(fingerprint) from sidecar_internal.sidecars)"
    run(db, f"update sidecar_internal.watches set fingerprint = null, encoder = null, model = {named}")
    found = [finding for finding in check_database(db, Limits()).findings if finding.check == "fingerprints"]
    assert {finding.remedy for finding in found} == {"VISION_MODEL_ID=... sidecar serve"}
    assert all("or watch another target with dimensions => 4" in finding.why for finding in found)


def test_a_partition_tree_too_large_for_the_lock_table_is_found(db: Connection) -> None:
    """With two partitions, and as many more sessions that lock all of them."""
    run(
        db,
        "create table tree (id int primary key, title text) partition by range (id); "
        "create table tree_1 partition of tree for values from (0) to (9); "
        "create table tree_2 partition of tree for values from (9) to (99); "
        "select sidecar.watch('tree', 'title', dimensions => 3)",
    )
    assert [f for f in check_database(db, Limits()).findings if f.check == "lock_budget"] == []
    [finding] = [f for f in check_database(db, Limits(lock_sessions=5000)).findings if f.check == "lock_budget"]
    assert (finding.severity, finding.subject) == ("warning", "public.tree")
    assert "the 6 tables and indexes of its tree, locked by 5000 sessions at a time, take 30000 locks" in finding.what
    assert finding.remedy.startswith("alter system set max_locks_per_transaction = ")


def test_prepared_transactions_are_noted_and_forgotten_ones_found(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine, open_tmp_path: Path
) -> None:
    settings = {"fsync": "off", "max_prepared_transactions": "2"}
    with (
        EmbeddedPostgres(open_tmp_path / "data", settings=settings) as server,
        Server(server.url).lend_database() as url,
    ):
        monkeypatch.setenv("DATABASE_URL", url)
        command_line.succeed("migrate")
        with psycopg.connect(url, autocommit=True) as db:
            run_script(db, "create table t (id int); begin; insert into t values (1); prepare transaction 'it''s'")
            found = examine(command_line, "--long-transaction-s", "0")
            assert checks(found) == ["long_transactions", "prepared_transactions"]
            old, note = sorted(found["findings"], key=lambda finding: str(finding["check"]))
            run_script(db, old["remedy"])
            assert checks(examine(command_line, "--long-transaction-s", "0")) == ["prepared_transactions"]
            assert (note["severity"], note["remedy"]) == ("note", "alter system set max_prepared_transactions = 0;")


def test_a_database_that_is_not_migrated_gets_the_command_to_migrate(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    monkeypatch.setenv("DATABASE_URL", plain_database_url)
    found = examine(command_line)
    assert checks(found) == ["migrations", "pgvector"]
    assert {"triggers", "grants"} <= {missed["check"] for missed in found["not_checked"]}
    assert found["findings"][0]["remedy"] == "sidecar migrate"
    told = command_line("doctor").stdout
    assert told.count("not checked") == 1, "one line for all that have the same reason"
    assert "not checked  watches, triggers, grants, sql_embed, exposed_columns, index, " in told
    command_line.succeed("migrate")
    assert examine(command_line)["findings"] == []


@pytest.mark.parametrize("schema", ["sidecar", "sidecar_internal"])
def test_one_schema_without_the_other_is_a_problem(schema: str, db: Connection, command_line: CommandLine) -> None:
    run(db, f"drop schema {schema} cascade")
    assert checks(examine(command_line)) == ["migrations"]


def test_an_index_without_vectors_is_not_reported_missing(db: Connection, command_line: CommandLine) -> None:
    run(db, "update sidecar_internal.ledger_1 set content_hash = 'failed', vector_digest = null")
    run(db, "set sidecar.writer = 'on'; update items set e = null; reset sidecar.writer")
    run(db, "drop index items_e_hnsw_1")
    assert "index" not in checks(examine(command_line))
    assert "    build   " not in command_line.succeed("status")


def test_a_newer_schema_is_reported(db: Connection, command_line: CommandLine) -> None:
    run(db, "update sidecar.alembic_version set version_num = '9999'")
    assert checks(examine(command_line)) == ["migrations"]


def test_a_reader_sees_which_checks_its_rights_exclude(
    db: Connection, database_url: str, worker: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(db, f"create role {worker} login password 'pw'; select sidecar.grant_reader('{worker}')")
    parts = urlsplit(database_url)
    monkeypatch.setenv("DATABASE_URL", urlunsplit(parts._replace(netloc=f"{worker}:pw@{parts.hostname}:{parts.port}")))
    run(db, "alter table items disable trigger sidecar_1_insert")
    found = examine(command_line)
    assert checks(found) == ["triggers"]
    missed = {each["check"]: each["reason"] for each in found["not_checked"]}
    assert "permission denied" in missed["strangers"]
    assert f"grant pg_read_all_stats to {worker}" in missed["long_transactions"]
    run(db, "alter table items enable trigger sidecar_1_insert")
    first, *_, last = command_line.succeed("doctor").splitlines()
    assert "schema sidecar at a revision that this role may not see" in first
    assert last == "No problems found in what this role may look at."
    assert f"run: select sidecar.grant_worker('{worker}');" in command_line.fail("pause")


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed here")
@pytest.mark.parametrize("ignored", ["", "row_security,sidecar.writer,synchronous_commit,search_path,lock_timeout"])
def test_a_pooler_that_loses_notifications_is_found_and_a_direct_connection_repairs_it(
    db: Connection,
    database_url: str,
    open_tmp_path: Path,
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    ignored: str,
) -> None:
    with pgbouncer(open_tmp_path, database_url, ignored) as pooled_url:
        monkeypatch.setenv("DATABASE_URL", pooled_url)
        found = examine(command_line)
        assert (checks(found), found["facts"]["pooler"]) == (["listener"], "transaction"), found
        port = urlsplit(database_url).port
        name, _, direct = found["findings"][0]["remedy"].removeprefix("export ").partition("=")
        assert (name, f"@127.0.0.1:{port}/" in direct) == ("LISTEN_DATABASE_URL", True), direct
        monkeypatch.setenv(name, direct.strip("'").replace("PASSWORD", urlsplit(database_url).password or ""))
        found = examine(command_line)
        assert (found["findings"], found["facts"]["pooler"]) == ([], "transaction")


def test_a_read_only_session_is_found_with_the_setting_to_reset(
    db: Connection, database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = db.info.dbname
    run(db, f"alter role postgres in database {name} set default_transaction_read_only = on")
    [finding] = examine(command_line)["findings"]
    assert (finding["check"], f"role postgres in database {name}" in finding["what"]) == ("read_only", True), finding
    mend(database_url, {"findings": [finding]})
    assert examine(command_line)["findings"] == []
    monkeypatch.setenv("DATABASE_URL", database_url + "?options=-c%20default_transaction_read_only%3Don")
    [finding] = examine(command_line)["findings"]
    assert (finding["check"], finding["run_in"]) == ("read_only", "shell")
    script = ["bash", "-c", finding["remedy"] + '; printf %s "$DATABASE_URL"']
    monkeypatch.setenv("DATABASE_URL", subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    assert examine(command_line)["findings"] == []


def test_a_server_that_is_down_ends_with_code_1(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/shop")
    assert "cannot connect" in command_line.fail("doctor")


def test_in_a_terminal_each_finding_has_its_reason_and_its_command(db: Connection, command_line: CommandLine) -> None:
    run(db, "select sidecar.pause('items', 'v')")
    run(db, "alter table items disable trigger sidecar_1_insert")
    outcome = command_line("doctor")
    assert outcome.code == 3
    assert outcome.stdout.splitlines()[1:] == [
        "PROBLEM  triggers: public.items.e: disabled: sidecar_1_insert",
        "    why    changes of rows are not noticed until the next sweep, and changed content never is",
        f"    psql   {WATCH};",
        "NOTE  paused: public.items.v: the watch is paused",
        "    why    changes are remembered, but not embedded",
        "    psql   select sidecar.resume('public.items', 'v');",
        "Found: 1 problem, 1 note.",
    ]


def plant(db: Connection, script: str, worker: str) -> None:
    for part in script.replace("{worker}", worker).replace("{database}", db.info.dbname).split("--\n"):
        db.execute(part.encode())


def test_texts_that_are_read_in_part_are_notes_with_the_statement_that_lists_them(
    db: Connection, command_line: CommandLine
) -> None:
    run(db, "update sidecar_internal.ledger_1 set truncated = k1 < 4, unreadable = k1 = 9")
    [cut, unreadable] = examine(command_line)["findings"]
    assert (cut["severity"], cut["what"]) == ("note", "3 of 10 texts are longer than the model reads")
    assert [key["id"] for key, _ in run(db, cut["remedy"])] == [1, 2, 3]
    assert unreadable["what"] == "1 of 10 texts are in words that the model does not know"
    assert [key["id"] for key, _ in run(db, unreadable["remedy"])] == [9]
