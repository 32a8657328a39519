"""`sidecar plan`: its estimates are close to what watching the table then takes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image

from sidecar.operations.planning.device_rates import DEVICE_RATES
from sidecar.pictures.decode import read_size
from sidecar.pictures.views.plan import plan_views
from sidecar.pictures.views.settings import ViewSettings
from tests.command_line import CommandLine
from tests.integration.cli.conftest import PRODUCTS, Db, parse


def file_of(width: int, height: int, file_format: str = "PNG") -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def planned(command_line: CommandLine, *arguments: str, code: int = 0) -> Any:
    outcome = command_line("plan", *arguments, "--json")
    assert (outcome.code, outcome.stderr) == (code, ""), outcome
    return parse(outcome.stdout)


@pytest.mark.parametrize(("storage", "index"), [("vector", "halfvec"), ("vector", "vector"), ("halfvec", "halfvec")])
@pytest.mark.parametrize("dimensions", [1152, 256])
def test_index_vectors_and_ledger_take_about_the_planned_space(
    db: Db, command_line: CommandLine, storage: str, index: str, dimensions: int
) -> None:
    rows = 400
    db.execute("create table notes (id bigint primary key, body text)")
    db.execute("insert into notes select i, 'note ' || i from generate_series(1, %s::int) i", [rows])
    options = ("--index", index, "--dimensions", str(dimensions), "--storage", storage)
    plan = planned(command_line, "notes", "body", *options)
    assert (plan["rows"], plan["rows_to_embed"], plan["estimated"], plan["refusal"]) == (rows, rows, False, None)
    db.execute(
        "select sidecar.watch('notes', 'body', index => %s::text, dimensions => %s, companion => 'c', target => 'e',"
        " storage => %s::text)",
        [index, dimensions, storage],
    )
    db.execute(
        "insert into c select i, (select array_agg(sin(i * n)) from generate_series(1, %s) n)::real[]::vector"
        " from generate_series(1, %s) i",
        [dimensions, rows],
    )
    db.execute(
        "insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest)"
        " select i, i, sha256(i::text::bytea), sha256(i::text::bytea) from generate_series(1, %s) i",
        [rows],
    )
    (build,) = db.execute("select index_statement from sidecar.status").fetchall()
    db.execute(build[0])

    def size(query: str) -> int:
        (row,) = db.execute(f"select ({query})::bigint".encode()).fetchall()
        return int(row[0])

    pages = 8 * 8192  # overhead of a small table
    hnsw = size(
        "pg_relation_size((select indexrelid from pg_index where indrelid = 'c'::regclass and not indisprimary))"
    )
    assert plan["index_bytes"] == pytest.approx(hnsw, rel=0.1, abs=pages)
    assert plan["vector_bytes"] == pytest.approx(size("pg_table_size('c')"), rel=0.15, abs=pages)
    assert plan["ledger_bytes"] == pytest.approx(
        size("pg_total_relation_size('sidecar_internal.ledger_1')"), rel=0.2, abs=pages
    )


def test_the_number_of_views_follows_picture_sizes_and_settings(
    db: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("delete from products")
    sizes = [(500, 500), (640, 480), (480, 640), (1400, 400)]
    for key, size in enumerate(sizes):
        db.execute("insert into products (id, photo) values (%s, %s)", [key, file_of(*size)])
    db.execute("insert into products (id) values (10), (11), (12), (13)")
    settings = ViewSettings(384, True, 384, (1.0, 1.35), 1536, 2.6)
    expected = sum(len(plan_views(*size, settings).views) for size in sizes)
    plan = planned(command_line, "products", "photo", "--views-per-s", "10")
    assert (plan["rows"], plan["rows_to_embed"], plan["sampled_pictures"]) == (8, 4, 4)
    assert (plan["views"], plan["device_s"]) == (expected, pytest.approx(expected / 10))
    assert plan["source_bytes"] == sum(len(file_of(*size)) for size in sizes)
    monkeypatch.setenv("ENABLE_TTA", "0")
    assert planned(command_line, "products", "photo")["views"] == 4


def test_the_rate_is_the_sum_of_the_running_sidecars_or_unknown(db: Db, command_line: CommandLine) -> None:
    assert planned(command_line, "products", "title")["device_s"] is None
    assert "give --views-per-s" in command_line.succeed("plan", "products", "title")
    for host in ("a", "b"):
        db.execute(
            "insert into sidecar_internal.sidecars (id, host, pid, version, model, fingerprint, dimensions, "
            "texts_per_s,"
            " picture_views_per_s) values (gen_random_uuid(), %s, 1, '0', 'm', 'f', 1152, 30, 3)",
            [host],
        )
    assert planned(command_line, "products", "title")["device_s"] == pytest.approx(3 / 60)
    assert planned(command_line, "products", "photo")["views_per_s"] == 6
    other = command_line("plan", "products", "title", "--dimensions", "16", "--json")
    assert parse(other.stdout)["views_per_s"] is None
    assert "no running sidecar makes vectors of 16 dimensions (m makes 1152): nothing will be embedded" in other.stderr


def test_a_large_table_is_sampled_and_marked_as_estimated(db: Db, command_line: CommandLine) -> None:
    db.execute("create table logs (id bigint primary key, body text)")
    db.execute("insert into logs select i, repeat('x', 700 + i % 200) from generate_series(1, 30000) i")
    db.execute("insert into logs select i, '' from generate_series(30001, 40000) i")
    db.execute("analyze logs")
    plan = planned(command_line, "logs", "body")
    assert plan["estimated"]
    assert plan["rows"] == pytest.approx(40000, rel=0.02)
    assert 200 < plan["sampled_rows"] < 2000
    assert plan["rows_to_embed"] == pytest.approx(30000, rel=0.25)
    assert plan["source_bytes"] / plan["rows_to_embed"] == pytest.approx(800, rel=0.05)


@pytest.mark.parametrize(
    ("plant", "arguments", "message"),
    [
        ("create table heap (title text)", ("heap", "title"), "has no primary key"),
        ("alter table products add e int", ("products", "title", "--target", "e"), "has type integer"),
        ("select 1", ("products", "title", "--index", "vector", "--dimensions", "3000"), "at most 2000 dimensions"),
    ],
)
def test_what_watch_would_refuse_is_reported_with_its_hint_and_code_3(
    db: Db, command_line: CommandLine, plant: str, arguments: tuple[str, ...], message: str
) -> None:
    db.execute(plant.encode())
    plan = planned(command_line, *arguments, code=3)
    assert message in plan["refusal"]["message"]
    assert plan["refusal"]["hint"]
    outcome = command_line("plan", *arguments)
    assert (outcome.code, "REFUSED" in outcome.stdout) == (3, True)
    refused = command_line.fail("watch", arguments[0], "--source", *arguments[1:])
    assert plan["refusal"]["message"] in refused


def test_plan_changes_nothing(db: Db, command_line: CommandLine) -> None:
    before = db.execute("select count(*), max(oid) from pg_class").fetchone()
    planned(command_line, "products", "title", "--companion", "title_vectors")
    assert db.execute("select count(*), max(oid) from pg_class").fetchone() == before


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP"])
def test_the_size_of_a_picture_is_read_from_its_beginning(file_format: str) -> None:
    assert read_size(file_of(120, 90, file_format)[:4096]) == (120, 90)


def test_other_bytes_have_no_size() -> None:
    assert read_size(b"milk, bread") is None


def test_unknown_figures_are_described_in_words(db: Db, command_line: CommandLine) -> None:
    text = command_line.succeed("plan", "products", "title")
    assert "built in less than a second" in text
    assert "at 1,500 texts/s" in command_line.succeed("plan", "products", "title", "--views-per-s", "1500")
    assert "at 0.2 texts/s" in command_line.succeed("plan", "products", "title", "--views-per-s", "0.2")
    db.execute("delete from products")
    text = command_line.succeed("plan", "products", "photo")
    assert "(assuming 640 × 480: no sampled picture's size could be read)" in text
    assert "device  nothing to embed yet" in text


def test_texts_that_are_longer_than_the_model_reads_are_counted_in_the_sample(
    db: Db, command_line: CommandLine
) -> None:
    db.execute("create table notes (id bigint primary key, body text)")
    db.execute(
        "insert into notes select i, repeat('word ', case when i <= 3 then 100 else 2 end) from generate_series(1, 8) i"
    )
    db.execute("insert into notes values (9, null)")
    says = "about 3 of 8 texts are longer than the default model reads (64 tokens, some 250 letters)"
    assert says in command_line.succeed("plan", "notes", "body")
    assert planned(command_line, "notes", "body")["sampled_long_texts"] == 3
    assert says in command_line.succeed("watch", "notes", "--source", "body")
    assert "longer than" not in command_line.succeed("watch", "products", "--source", "title")


@pytest.fixture
def unmigrated(plain_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Db]:
    """A database in which nothing of the sidecar is installed, with three products."""
    monkeypatch.setenv("DATABASE_URL", plain_database_url)
    with psycopg.connect(plain_database_url, autocommit=True) as connection:
        connection.execute(PRODUCTS)
        yield connection


def test_plan_before_migrate_is_the_same_as_after_it_and_installs_nothing(
    unmigrated: Db, command_line: CommandLine
) -> None:
    for statement in (
        "create domain long_text as varchar(999)",
        'create table "Big $1 %s" (id int primary key, body long_text, photo bytea)',
        """insert into "Big $1 %s" select i, nullif(repeat('word ', i % 90), ''), 'x' from generate_series(1, 450) i""",
        "create table parts (id int primary key, title text) partition by range (id)",
        "create table parts_1 partition of parts for values from (0) to (50)",
        "create table parts_2 partition of parts for values from (50) to (100)",
        "insert into parts select i, 'title ' || i from generate_series(1, 99) i",
        "analyze parts",
    ):
        unmigrated.execute(statement.encode())
    unmigrated.execute("update products set photo = %s where id < 3", [file_of(500, 500)])
    before = unmigrated.execute("select count(*), max(oid) from pg_class").fetchone()
    commands = [("products", "photo"), ("products", "title", "brand"), ("parts", "title"), ('"Big $1 %s"', "body")]
    plans = [planned(command_line, *command) for command in commands]
    assert unmigrated.execute("select count(*), max(oid) from pg_class").fetchone() == before
    assert [plan.pop("migrated") for plan in plans] == [False] * 4
    assert [(plan["rows"], plan["rows_to_embed"]) for plan in plans] == [(3, 2), (3, 3), (99, 99), (450, 445)]
    assert plans[0]["views_per_row"] == 6
    command_line.succeed("migrate")
    assert [{**planned(command_line, *command)} | {"migrated": None} for command in commands] == [
        {**plan, "migrated": None} for plan in plans
    ]


def test_plan_before_migrate_says_what_it_could_not_check(unmigrated: Db, command_line: CommandLine) -> None:
    assert "run it again after `sidecar migrate`" in command_line.succeed("plan", "products", "title")
    command_line.succeed("migrate")
    assert "sidecar migrate" not in command_line.succeed("plan", "products", "title")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("catalogue", "title"), "catalogue is a view, not a table"),
        (("produtcs", "title"), 'relation "produtcs" does not exist\nHINT: Did you mean products?'),
        (("products", "colour"), "has no column 'colour'\nHINT: Column names are case-sensitive"),
        (("products", "titel"), "has no column 'titel'\nHINT: Did you mean 'title'? Column names"),
        (("products", "id"), "has type bigint, which holds neither text nor pictures"),
        (("products", "title", "photo"), "mixes pictures with other columns"),
        (("products", "title", "--kind", "image"), "holds text"),
    ],
)
def test_plan_refuses_the_same_before_and_after_migrate(
    unmigrated: Db, command_line: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    unmigrated.execute("create view catalogue as select * from products")
    for _ in range(2):
        error = command_line.fail("plan", *arguments)
        assert message in error
        assert "\nHINT: " in error
        command_line.succeed("migrate")


def test_plan_before_migrate_names_a_missing_primary_key_(unmigrated: Db, command_line: CommandLine) -> None:
    unmigrated.execute("create table heap (title text)")
    assert planned(command_line, "heap", "title", code=3)["refusal"]["message"] == "table heap has no primary key"


def test_a_large_table_is_estimated_before_migrate_too(unmigrated: Db, command_line: CommandLine) -> None:
    unmigrated.execute("create table logs (id bigint primary key, body text)")
    unmigrated.execute("insert into logs select i, repeat('x', 700 + i % 200) from generate_series(1, 30000) i")
    unmigrated.execute("analyze logs")
    plan = planned(command_line, "logs", "body")
    assert plan["estimated"]
    assert plan["rows"] == pytest.approx(30000, rel=0.02)
    assert 200 < plan["sampled_rows"] < 2000
    assert plan["source_bytes"] / plan["rows_to_embed"] == pytest.approx(800, rel=0.05)


def test_the_time_on_typical_devices_is_that_of_measured_rates_and_says_who_measured(
    db: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISION_MODEL_ID", raising=False)
    db.execute("update products set photo = %s", [file_of(640, 480)])
    devices = {each["device"]: each for each in planned(command_line, "products", "photo")["typical_devices"]}
    for rate in DEVICE_RATES:
        assert devices[rate.device]["device_s"] == pytest.approx(3 * 8 / rate.views_per_s)
        assert devices[rate.device]["source"] == rate.source
    text = command_line.succeed("plan", "products", "photo")
    assert "less than a second on NVIDIA H100 at 629 views/s, measured by us" in text
    of_texts = planned(command_line, "products", "title")["typical_devices"]
    assert [each["device"] for each in of_texts] == [each.device for each in DEVICE_RATES if each.texts_per_s]
    monkeypatch.setenv("VISION_MODEL_ID", "demo")  # no rate of another model is made up
    assert planned(command_line, "products", "photo")["typical_devices"] == []


# Each fits what the statements pass better than the function or operator of pg_catalog.
BETTER_MATCHES = """
create table called (what text);
create domain texts as text;
create function note(what text) returns integer language sql as $$ insert into called values (what) returning 1 $$;
create function pg_relation_size(oid) returns bigint language sql as $$ select note('size')::bigint $$;
create function pg_total_relation_size(oid) returns bigint language sql as $$ select note('total')::bigint $$;
create function octet_length(texts) returns integer language sql as $$ select note('length') $$;
create function no_match(name, name) returns boolean language sql as $$ select note('name') > 0 $$;
create function is_same(regclass, regclass) returns boolean language sql as $$ select note('same') > 0 $$;
create function ratio(float8, integer) returns float8 language sql as $$ select note('ratio')::float8 $$;
create operator !~ (leftarg = name, rightarg = name, function = no_match);
create operator = (leftarg = regclass, rightarg = regclass, function = is_same);
create operator / (leftarg = float8, rightarg = integer, function = ratio);
create table notes (id bigint primary key, body texts);
insert into notes values (1, 'one'), (2, 'two');
analyze notes;
"""


def test_plan_before_migrate_calls_no_function_of_another_user(unmigrated: Db, command_line: CommandLine) -> None:
    unmigrated.execute(BETTER_MATCHES.encode())
    assert planned(command_line, "notes", "body")["rows"] == 2
    assert "Did you mean notes?" in command_line.fail("plan", "note", "body")
    assert unmigrated.execute("select * from called").fetchall() == []


def test_neither_do_the_commands_that_look_for_a_name(db: Db, command_line: CommandLine) -> None:
    db.execute(BETTER_MATCHES.encode())
    command_line.succeed("watch", "notes", "--source", "body")
    for words in (("status", "note"), ("status", "notes"), ("status", "notes.body_embedding"), ("failures", "notes")):
        command_line(*words)
    assert "--target body_embedding" in command_line.fail("status", "notes.body_embedding")
    assert db.execute("select * from called").fetchall() == []


def test_memory_for_the_index_and_the_point_to_partition_from_follow_the_servers_settings(
    db: Db, command_line: CommandLine
) -> None:
    db.execute("create table notes (id bigint primary key, body text)")
    db.execute("insert into notes select i, 'note ' || i from generate_series(1, 450) i")
    text = command_line.succeed("plan", "notes", "body")
    assert "    memory  1.3 MB to build the index; maintenance_work_mem is 64.0 MB\n" in text
    assert "    limit   one index fits into memory up to about 1,400,000 rows (4.0 GB)\n" in text
    memory = planned(command_line, "notes", "body")["index_memory"]
    assert (memory["rows_per_partition"], memory["partitions"]) == (4 * 2**30 // (2 * 1152 + 720), 1)

    for setting in ("maintenance_work_mem = ''64kB''", "effective_cache_size = ''1MB''"):
        db.execute(
            f"do $$ begin execute format('alter database %I set {setting}', current_database()); end $$".encode()
        )
    text = command_line.succeed("plan", "notes", "body")
    assert "but maintenance_work_mem is 64.0 KB: built in about 2 seconds then. Set it to 1.4 MB for the role" in text
    assert (
        "up to about 340 rows (1.0 MB): use 2 partitions, or set effective_cache_size to what the machine has" in text
    )
    assert planned(command_line, "notes", "body")["index_memory"]["partitions"] == 2
    assert planned(command_line, "notes", "body", "--index", "none")["index_memory"] is None
