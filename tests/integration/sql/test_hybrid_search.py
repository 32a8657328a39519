"""sidecar.hybrid_search: rankings by vector and by words, merged with reciprocal rank fusion."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from tests.integration.sql.session import Connection, refused, run, value
from tests.waiting import wait_until

DOCUMENT = "to_tsvector('english', coalesce(title, '') || ' ' || coalesce(brand, ''))"
NORTH = "[0,1,0]"

# By distance from NORTH: 1, 2, 3, 4. "cats" is in 3, and twice in 4. 5 has no vector yet, 6 no text.
ITEMS = """
    create table items (id bigint primary key, title text, brand text, tenant integer);
    select sidecar.watch('items', array['title', 'brand'], target => 'e', dimensions => 3);
    insert into items values (1, 'a mug', null, 1), (2, 'a ship', 'Nord', 1), (3, 'a cat', 'Nord', 2),
                             (4, 'cats and more cats', null, 2), (5, 'ship', 'Nord', null), (6, null, null, 1);
    update items set e = (array['[0,1,0]', '[0.1,1,0]', '[0.2,1,0]', '[1,1,0]', null, '[1,0,0]'])[id]::vector;
"""


@pytest.fixture
def items(db: Connection) -> Connection:
    run(db, ITEMS)
    return db


def search(connection: Connection, arguments: str, table: str = "items") -> list[tuple[Any, ...]]:
    """Key values joined by a comma, score, and the two ranks."""
    query = f"""
        select (select string_agg(value, ',') from jsonb_each_text(key)), score, vector_rank, text_rank
        from sidecar.hybrid_search('{table}', {arguments})
    """
    return run(connection, query)


def keys(connection: Connection, arguments: str, table: str = "items") -> list[str]:
    return [row[0] for row in search(connection, arguments, table)]


def test_scores_are_the_sum_of_reciprocal_ranks(items: Connection) -> None:
    assert search(items, f"'{NORTH}', 'cat'") == [
        ("4", pytest.approx(1 / 64 + 1 / 61), 4, 1),
        ("3", pytest.approx(1 / 63 + 1 / 62), 3, 2),
        ("1", pytest.approx(1 / 61), 1, None),
        ("2", pytest.approx(1 / 62), 2, None),
        ("6", pytest.approx(1 / 65), 5, None),
    ]


def test_weights_rrf_constant_and_k_are_applied(items: Connection) -> None:
    found = search(items, f"'{NORTH}', 'cat', k => 2, rrf_constant => 0, vector_weight => 0.5, text_weight => 3")
    assert found == [("4", pytest.approx(0.5 / 4 + 3 / 1), 4, 1), ("3", pytest.approx(0.5 / 3 + 3 / 2), 3, 2)]
    assert keys(items, f"'{NORTH}', 'cat', k => 0") == []


def test_any_number_of_rows_may_be_asked_for(items: Connection) -> None:
    assert search(items, f"'{NORTH}', 'cat', k => 2147483647") == search(items, f"'{NORTH}', 'cat'")


def test_candidates_limits_each_ranking(items: Connection) -> None:
    assert keys(items, f"'{NORTH}', 'cat', candidates => 1") == ["1", "4"]


def test_the_distance_is_the_cosine_distance_for_rows_found_by_vector(items: Connection) -> None:
    query = f"select key, distance from sidecar.hybrid_search('items', '{NORTH}', 'ship')"
    distances = {key["id"]: distance for key, distance in run(items, query)}
    assert distances[4] == pytest.approx(1 - 0.5**0.5, abs=1e-3)
    assert distances[5] is None


@pytest.mark.parametrize("text", ["''", "'   '", "'the'", "null", "'!!'"])
def test_with_an_empty_text_rows_are_ranked_by_vector_without_a_notice(items: Connection, text: str) -> None:
    heard: list[str | None] = []
    items.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
    assert keys(items, f"'{NORTH}', {text}") == ["1", "2", "3", "4", "6"]
    assert heard == []


def test_without_a_vector_rows_are_ranked_by_words(items: Connection) -> None:
    assert search(items, "null, 'cat'") == [
        ("4", pytest.approx(1 / 61), None, 1),
        ("3", pytest.approx(1 / 62), None, 2),
    ]
    assert keys(items, "null, ''") == []


def test_the_text_is_parsed_as_a_web_search_query(items: Connection) -> None:
    assert keys(items, "null, 'ship -nord or mug'") == ["1"]
    assert keys(items, """null, '"ship nord" :* & | !'""") == ["2", "5"]
    assert keys(items, """null, '"nord ship" :* & | !'""") == []


@pytest.mark.parametrize("line", ["-" * 40, "- " * 40, "-!(" * 40, "\n" + "-" * 20_000 + "\n", "--------"])
def test_a_line_of_dashes_negates_nothing(items: Connection, line: str) -> None:
    for text in (f"a {line} cat", f"{line}cats", f"cats{line}"):
        found = run(items, "select key->>'id' from sidecar.hybrid_search('items', null, %s)", text)
        assert [key for (key,) in found] == ["4", "3"]


def test_ties_share_their_rank_and_are_ordered_by_key(items: Connection) -> None:
    run(items, "insert into items values (10, 'a cat', 'Nord', 1), (9, 'a cat', 'Nord', 1)")
    run(items, "update items set e = '[0.2,1,0]' where id in (9, 10)")
    run(items, "update items set tenant = 5 where id = 3")  # moves it to the end of the table
    found = search(items, f"'{NORTH}', 'cat', k => 3")
    assert [(row[0], row[2], row[3]) for row in found] == [("3", 3, 2), ("9", 3, 2), ("10", 3, 2)]
    assert len({row[1] for row in found}) == 1
    assert keys(items, f"'{NORTH}', '', candidates => 3") == [
        "1",
        "2",
        "3",
        "9",
        "10",
    ]  # ties are not cut off at random


def test_a_filter_applies_to_both_rankings(items: Connection) -> None:
    assert keys(items, f"'{NORTH}', 'ship', filter => '{{\"tenant\": 1}}'") == ["2", "1", "6"]
    assert keys(items, f"'{NORTH}', 'ship', filter => '{{\"tenant\": null}}'") == ["5"]
    assert keys(items, f"'{NORTH}', 'ship', filter => '{{\"tenant\": 2, \"brand\": \"Nord\"}}'") == ["3"]


def test_filter_values_are_never_executed_as_sql(items: Connection) -> None:
    hostile = "x' or true --"
    filter_ = psycopg.types.json.Jsonb({"brand": hostile})
    query = "select count(*) from sidecar.hybrid_search('items', %s, 'ship', filter => %s)"
    assert value(items, query, NORTH, filter_) == 0
    run(items, "update items set brand = %s where id = 1", hostile)
    assert value(items, query, NORTH, filter_) == 1
    with refused(items, "42703", "no column .id = 1 or true --. to filter by", "filter has columns of the table"):
        value(items, query, NORTH, psycopg.types.json.Jsonb({"id = 1 or true --": 1}))


def test_a_tsvector_column_is_searched_directly(items: Connection) -> None:
    run(items, "alter table items add words tsvector generated always as (to_tsvector('simple', title)) stored")
    assert keys(items, "null, 'cats', document => '{words}', config => 'simple'") == ["4"]
    assert keys(items, "null, 'cat', document => '{words}', config => 'simple'") == ["3"]


def test_other_columns_than_the_watched_ones_may_be_searched(items: Connection) -> None:
    assert keys(items, "null, 'nord', document => '{brand}'") == ["2", "3", "5"]
    assert keys(items, "null, 'nord', document => '{title}'") == []


def test_pictures_are_searched_together_with_a_text_column(db: Connection) -> None:
    run(
        db,
        """
        create table items (id bigint primary key, title text, photo bytea);
        select sidecar.watch('items', 'title', dimensions => 3);
        select sidecar.watch('items', 'photo', target => 'e', companion => 'vectors', dimensions => 3);
        insert into items values (1, 'a cat', ''), (2, 'a dog', ''), (3, 'a cat', '');
        insert into vectors values (1, '[0,1,0]'), (3, '[1,0,0]'), (4, '[0,1,0]');
        """,
    )
    call = f"'{NORTH}', 'cat', target => 'e', document => '{{title}}'"
    assert keys(db, call) == ["1", "3"]  # 4 is in the companion, but its row was deleted
    with refused(db, "22023", "target 'e' holds vectors of pictures", "Name text columns"):
        search(db, f"'{NORTH}', 'cat', target => 'e'")
    with refused(db, "42702", "has 2 watches", "Name the target"):
        search(db, f"'{NORTH}', 'cat'")


def test_a_partitioned_table_with_a_two_column_key_is_searched(db: Connection) -> None:
    run(
        db,
        """
        create table items (tenant integer, id uuid default gen_random_uuid(), title text, primary key (tenant, id))
            partition by list (tenant);
        create table items_1 partition of items for values in (1);
        create table items_2 partition of items for values in (2);
        select sidecar.watch('items', 'title', target => 'e', dimensions => 3);
        insert into items select n % 2 + 1, gen_random_uuid(), 'cat ' || n from generate_series(1, 8) n;
        update items set e = array[1, substr(title, 5)::integer, 0]::vector;
        """,
    )
    found = run(db, f"select key from sidecar.hybrid_search('items', '{NORTH}', 'cat 3', k => 3)")
    titles = [value(db, "select title from items where id = %s", key[0]["id"]) for key in found]
    assert titles == ["cat 3", "cat 8", "cat 7"]
    assert {tuple(key[0]) for key in found} == {("id", "tenant")}


@pytest.mark.parametrize("name", ["%s", 'a"b', "k1", "distance", "Order By", "it's", "place"])
def test_names_that_need_quotes_are_searched(db: Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    literal = quoted.replace("'", "''")
    run(db, f"create table {quoted} ({quoted} bigint primary key, title text)")
    run(db, f"select sidecar.watch('{literal}', 'title', target => 'e''\"', dimensions => 3)")
    run(db, f"""insert into {quoted} values (7, 'cat'), (6, 'dog'); update {quoted} set "e'""\" = '{NORTH}'""")
    assert keys(db, f"'{NORTH}', 'cat'", table=literal) == ["7", "6"]
    assert run(db, f"select key from sidecar.hybrid_search('{literal}', '{NORTH}', 'cat', k => 1)") == [({name: 7},)]


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message", "hint"),
    [
        (
            f"'{NORTH}', 'a', document => '{{nothing}}'",
            "42703",
            "table public.items has no column 'nothing'",
            "document =>",
        ),
        (f"'{NORTH}', 'a', document => '{{}}'", "42703", "table public.items has no column NULL", "document =>"),
        (f"'{NORTH}', 'a', target => 'x'", "42704", "has no watch with target 'x'", "Its targets: 'e'"),
        (f"'{NORTH}', 'a', k => -1", "22023", "k must be 0 or more", "They are -1, unset and 60"),
        (f"'{NORTH}', 'a', candidates => 0", "22023", "candidates 1 or more", "They are 10, 0 and 60"),
        ("'[1,2]', 'a'", "22000", "expected 3 dimensions, not 2", ""),
    ],
)
def test_invalid_arguments_are_refused(
    items: Connection, arguments: str, sqlstate: str, message: str, hint: str
) -> None:
    with refused(items, sqlstate, re.escape(message), hint):
        search(items, arguments)


def test_hybrid_search_uses_the_callers_rights_and_works_as_the_first_use_of_vectors_in_a_session(
    database_url: str, committed: Connection
) -> None:
    run(committed, ITEMS)
    run(
        committed,
        """
        create role hybrid_reader;
        grant usage on schema sidecar, sidecar_internal to hybrid_reader;
        grant select on sidecar_internal.watches to hybrid_reader;
        grant execute on all functions in schema sidecar, sidecar_internal to hybrid_reader;
        """,
    )
    try:
        with psycopg.connect(database_url) as connection:
            run(connection, "set role hybrid_reader")
            with refused(connection, "42501", "permission denied for table items", ""):
                search(connection, f"'{NORTH}', 'cat'")
        run(committed, "grant select on items to hybrid_reader")
        run(committed, "alter table items enable row level security")
        run(committed, "create policy mine on items for select to hybrid_reader using (tenant = 2)")
        with psycopg.connect(database_url) as connection:
            run(connection, "set role hybrid_reader")
            assert keys(connection, f"'{NORTH}', 'cat'") == ["3", "4"]
    finally:
        run(committed, "drop owned by hybrid_reader cascade; drop role hybrid_reader")


def test_pgvector_may_be_installed_in_another_schema(plain_database_url: str) -> None:
    from sidecar.operations.migrations import migrate

    with psycopg.connect(plain_database_url, autocommit=True) as connection:
        run(connection, 'create schema "Ext, s"; create extension vector schema "Ext, s"')
        migrate(plain_database_url)
        run(connection, 'set search_path = "Ext, s", public')
        run(connection, ITEMS)
        assert keys(connection, f"'{NORTH}', 'cat'")[:2] == ["4", "3"]


@pytest.fixture
def many(committed: Connection) -> Connection:
    """5,000 items of 32 dimensions, with the sidecar's HNSW index and the documented GIN index."""
    run(
        committed,
        f"""
        create table items (id bigint primary key, title text, brand text);
        select sidecar.watch('items', array['title', 'brand'], target => 'e', dimensions => 32);
        insert into items select n, 'item ' || n, case when n % 50 = 0 then 'cats' end from generate_series(1, 5000) n;
        update items set e = (select array_agg(sin(id * i)) from generate_series(1, 32) i)::vector;
        create index items_hnsw on items using hnsw ((e::halfvec(32)) halfvec_cosine_ops);
        create index items_gin on items using gin ({DOCUMENT});
        analyze items;
        """,
    )
    return committed


def scans(connection: Connection) -> dict[str, int]:
    run(connection, "select pg_stat_force_next_flush()")
    return dict(run(connection, "select indexrelname, idx_scan from pg_stat_user_indexes where relname = 'items'"))


def test_hybrid_search_uses_the_hnsw_and_the_gin_index(many: Connection) -> None:
    before = scans(many)
    assert len(search(many, "(select e from items where id = 3), 'cats', k => 60")) == 60
    wait_until(lambda: sum(scans(many).values()) >= sum(before.values()) + 3, "the statistics of three scans")
    assert {name: n - before[name] for name, n in scans(many).items()} == {
        "items_pkey": 1,
        "items_hnsw": 1,
        "items_gin": 1,
    }


def plan_of(connection: Connection, table: str) -> str:
    run(connection, "set search_path = pg_catalog, public; set hnsw.iterative_scan = strict_order")
    query = """
        select sidecar_internal.hybrid_statement(w, sidecar_internal.search_document(w.relation, w.source, 'english'),
            '')
        from sidecar_internal.get_watch(%s::text::regclass, 'e') w
    """
    statement = value(connection, query, f"public.{table}")
    run(connection, f"prepare hybrid (vector, tsquery, integer, integer, float, float, integer) as {statement}")
    explain = "explain (costs off) execute hybrid (array_fill(0.5, array[32])::vector, 'cats', 100, 60, 1, 1, 10)"
    return "\n".join(row[0] for row in run(connection, explain))


def test_neither_ranking_scans_the_whole_table(many: Connection) -> None:
    plan = plan_of(many, "items")
    assert re.search(r"Limit\n\s*->  Index Scan using items_hnsw on items t\n\s*Order By: .*<=>", plan), plan
    assert "Bitmap Index Scan on items_gin" in plan
    assert "Seq Scan" not in plan


def test_vectors_in_a_companion_are_searched_by_index(many: Connection) -> None:
    run(
        many,
        """
        create table others (id bigint primary key, title text);
        select sidecar.watch('others', 'title', target => 'e', companion => 'vectors', dimensions => 32);
        insert into others select id, concat(title, ' ', brand) from items;
        insert into vectors select id, e from items;
        create index vectors_hnsw on vectors using hnsw ((e::halfvec(32)) halfvec_cosine_ops);
        create index others_gin on others using gin (to_tsvector('english', coalesce(title, '')));
        analyze others; analyze vectors;
        """,
    )
    plan = plan_of(many, "others")
    assert "Index Scan using vectors_hnsw" in plan
    assert "Bitmap Index Scan on others_gin" in plan
    assert "Seq Scan" not in plan


def test_a_partitioned_table_is_searched_by_index(many: Connection) -> None:
    run(
        many,
        """
        create table others (id bigint, tenant bigint, title text, primary key (tenant, id)) partition by list (tenant);
        create table others_0 partition of others for values in (0);
        create table others_1 partition of others for values in (1);
        select sidecar.watch('others', 'title', target => 'e', dimensions => 32);
        insert into others select id, id % 2, concat(title, ' ', brand), e from items;
        create index hnsw_0 on others_0 using hnsw ((e::halfvec(32)) halfvec_cosine_ops);
        create index hnsw_1 on others_1 using hnsw ((e::halfvec(32)) halfvec_cosine_ops);
        create index on others using gin (to_tsvector('english', coalesce(title, '')));
        analyze others;
        """,
    )
    plan = plan_of(many, "others")
    assert re.search(r"Merge Append\n.*\n\s*->  Index Scan using hnsw_0", plan), plan
    assert "Index Scan using hnsw_1" in plan
    assert "Seq Scan" not in plan


def test_more_candidates_than_hnsw_ef_search_are_found(many: Connection) -> None:
    assert len(search(many, "(select e from items where id = 3), '', k => 200")) == 200  # hnsw.ef_search is 40
    assert value(many, "select current_setting('hnsw.iterative_scan')") == "off"  # the caller's setting is unchanged
