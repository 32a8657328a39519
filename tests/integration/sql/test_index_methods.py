"""Index methods by name, and with options: what sidecar.watch reads, refuses, and has built."""

from __future__ import annotations

import psycopg
import pytest

from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Limits
from tests.integration.sql.fake_methods import install_method
from tests.integration.sql.session import Connection, refused, run, value

STORED = "select index_kind, index_method, index_options from sidecar_internal.watches"


def watch_items(db: Connection, index: str, **options: object) -> None:
    """A watched table `items`; again with `replace`."""
    run(db, "create table if not exists items (id bigint primary key, title text)")
    named = "".join(f", {name} => %s" for name in options)
    run(
        db,
        f"select sidecar.watch('items', 'title', target => 'e', dimensions => 3, index => %s, replace => true{named})",
        index,
        *options.values(),
    )


def statement_of(db: Connection) -> str:
    """What is left to do for the index, with the number of the watch as N."""
    watch_id = value(db, "select id from sidecar_internal.watches")
    return str(value(db, "select index_statement from sidecar.status")).replace(f"_{watch_id} ", "_N ")


HALFVEC = "((e::public.halfvec(3)) public.halfvec_cosine_ops)"
VECTOR = "(e public.vector_cosine_ops)"


@pytest.mark.parametrize(
    ("index", "method", "key"),
    [
        ("hnsw", "hnsw", HALFVEC),
        ("halfvec", "hnsw", HALFVEC),
        ("ivfflat", "ivfflat", f"{HALFVEC} with (lists = 10)"),
        ("vchordrq", "vchordrq", VECTOR),
        ("diskann", "diskann", VECTOR),
        ("using vchordrq (e::halfvec(3))", "vchordrq", HALFVEC),
        ("using hnsw", "hnsw", HALFVEC),
        ("USING HNSW (E vector_cosine_ops)", "hnsw", VECTOR),
        ("using hnsw (((e)::halfvec(3))halfvec_cosine_ops)", "hnsw", HALFVEC),
        (
            "using hnsw with (m = 24, ef_construction = 128)",
            "hnsw",
            f"{HALFVEC} with (m = 24, ef_construction = 128)",
        ),
        ("using ivfflat (e) with (lists = 7)", "ivfflat", f"{VECTOR} with (lists = 7)"),
        (
            "using hnsw (\n    \"e\"::halfvec(3) halfvec_cosine_ops\n) with ( m='024' , EF_CONSTRUCTION=100 )",
            "hnsw",
            f"{HALFVEC} with (m = '024', ef_construction = 100)",
        ),
    ],
)
def test_the_statement_of_each_index(db: Connection, index: str, method: str, key: str) -> None:
    for name in ("vchordrq", "diskann"):
        install_method(db, name)
    watch_items(db, index)
    assert statement_of(db) == f"create index concurrently items_e_{method}_N on public.items using {method} {key}"


def test_methods_of_other_extensions_index_a_halfvec_column_as_it_is(db: Connection) -> None:
    install_method(db, "vchordrq")
    watch_items(db, "vchordrq", storage="halfvec")
    assert "using vchordrq (e public.halfvec_cosine_ops)" in statement_of(db)


def test_the_same_index_in_other_words_changes_nothing(db: Connection) -> None:
    watch_items(db, "using hnsw (e::halfvec(3)) with (m = 24)")
    run(
        db,
        "select sidecar.watch('items', 'title', target => 'e', dimensions => 3, index => %s)",
        "using hnsw ((e::halfvec) halfvec_cosine_ops) with (M = '24')",
    )
    assert run(db, STORED) == [("halfvec", "hnsw", ["m=24"])]
    with refused(
        db, "42710", r"index using hnsw \(\(e::halfvec\(3\)\) halfvec_cosine_ops\) with \(m = 24\)", "replace"
    ):
        run(db, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3)")


@pytest.mark.parametrize(
    "index",
    [
        "halfvec",
        "vector",
        "none",
        "ivfflat",
        "using ivfflat (e vector_cosine_ops) with (lists = 5)",
        "using hnsw ((e::halfvec(3)) halfvec_cosine_ops) with (ef_construction = 99, m = 8)",
    ],
)
def test_the_call_that_repairs_a_watch_has_its_index(db: Connection, index: str) -> None:
    watch_items(db, index)
    before = run(db, STORED)
    repair = value(db, "select sidecar_internal.watch_statement(w) from sidecar_internal.watches w")
    assert f"index => '{index}'" in repair
    run(db, repair)
    assert run(db, STORED) == before


def test_the_order_of_options_means_nothing(db: Connection) -> None:
    watch_items(db, "using hnsw with (m = 24, ef_construction = 128)")
    run(
        db,
        "select sidecar.watch('items', 'title', target => 'e', dimensions => 3, index => %s)",
        "using hnsw with (ef_construction = 128, m = 24)",
    )
    canonical = "select sidecar_internal.canonical_index(%s, 'e', 3, 'vector')"
    orders = ["m = 24, ef_construction = 128", "ef_construction = 128, m = 24"]
    assert len({value(db, canonical, f"using hnsw with ({options})") for options in orders}) == 1


@pytest.mark.parametrize(
    "target", ["a(b", "a)b", "a)(b", 'a"(b', "a::halfvec(3)", "a;--", "a'b", "a\\b", "a\nb", "a%b"]
)
@pytest.mark.parametrize("key", ["(%s vector_cosine_ops)", "(((%s)::halfvec(3)) halfvec_cosine_ops)"])
def test_the_index_may_be_on_a_column_of_any_name(db: Connection, target: str, key: str) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    quoted = value(db, "select quote_ident(%s)", target)
    run(
        db,
        "select sidecar.watch('items', 'title', target => %s, dimensions => 3, index => %s)",
        target,
        f"using ivfflat {key.replace('%s', quoted)} with (lists = 7)",
    )
    run(db, value(db, "select sidecar_internal.watch_statement(w) from sidecar_internal.watches w"))
    run(db, value(db, "select index_statement from sidecar.status").replace("concurrently", ""))
    assert value(db, "select index_statement from sidecar.status") is None


def test_the_call_after_a_change_of_dimensions_has_them_in_its_index(db: Connection) -> None:
    watch_items(db, "using hnsw with (m = 8)")
    run(db, "alter table items drop column e cascade; alter table items add e vector(5)")
    [call] = [f.remedy for f in check_database(db, Limits()).findings if f.check == "watches"]
    assert call is not None
    run(db, call)
    assert value(db, "select dimensions from sidecar_internal.watches") == 5


@pytest.mark.parametrize(
    ("index", "said", "hint"),
    [
        ("btree", "index is 'btree'", "'ivfflat'"),
        ("", "index is ''", "'hnsw'"),
        ("HNSW; drop table items", "index is", "'hnsw'"),
        ("using hnsw; drop table items", "index is", "'hnsw'"),
        ("using hnsw (e) with (m = 2); drop table items --)", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with (m = 2); reset role; select (1)", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with (m = (select 1))", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with (m = $$2$$)", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with (m = 2 /* x */)", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with (m)", "the options of the index are", "values are numbers"),
        ("using hnsw (e) with ()", "the options of the index are", "values are numbers"),
        ("using hnsw (e) where id > 5", "index is", "'hnsw'"),
        ("using hnsw (e, id)", "index is", "'hnsw'"),
        ("using hnsw ((e::halfvec(3))", "index is", "'hnsw'"),
        ("using hnsw (evil(e) halfvec_cosine_ops)", "index is", "'hnsw'"),
        ("using hnsw (e::evil)", "index is", "'hnsw'"),
        ('using "hnsw" (e)', "index is", "'hnsw'"),
        ("create index on items using hnsw (e)", "index is", "what create index takes after the table"),
        ("using hnsw (title)", "the index is on title, but the vectors are in e", "e::halfvec"),
        ('using hnsw ("E")', 'the index is on "E", but the vectors are in e', "e::halfvec"),
        ("using hnsw (public.e)", "the index is on public.e, but", "e::halfvec"),
        ("using hnsw (e::halfvec(4))", "the index is on 4 dimensions, but the vectors have 3", r"halfvec\(3\)"),
        ("using hnsw (e::halfvec vector_cosine_ops)", "has operator class vector_cosine_ops, not halfvec", "cosine"),
        ("using hnsw (e vector_l2_ops)", "has operator class vector_l2_ops, not vector_cosine_ops", "cosine"),
        ("using hnsw with (m = 1)", r"hnsw does not take the options with \(m = 1\): value 1 out of bounds", "documen"),
        ("using hnsw with (lists = 10)", "hnsw does not take the options.*unrecognized parameter", "documentation"),
        ("using hnsw with (m = 8, m = 9)", "hnsw does not take the options", "documentation"),
    ],
)
def test_anything_but_one_index_on_the_vectors_is_refused(db: Connection, index: str, said: str, hint: str) -> None:
    with refused(db, "22023", said, hint):
        watch_items(db, index)


@pytest.mark.parametrize(
    ("index", "said", "hint"),
    [
        ("vchordrq", "there is no index method 'vchordrq' in database .*: VectorChord is not installed", "vchord"),
        ("diskann", "there is no index method 'diskann' in database .*: pgvectorscale is not inst", "vectorscale"),
        ("using scann", "there is no index method 'scann' in database", "Install the extension"),
        ("using btree", "index method btree cannot compare vector by cosine", "'hnsw'"),
        ("using gin (e::halfvec)", "index method gin cannot compare halfvec by cosine", "'hnsw'"),
    ],
)
def test_a_method_that_the_database_lacks_is_refused(db: Connection, index: str, said: str, hint: str) -> None:
    with refused(db, "42704", said, hint):
        watch_items(db, index)


def test_diskann_takes_no_halfvec(db: Connection) -> None:
    install_method(db, "diskann", types=["vector"])
    with refused(db, "42704", "index method diskann cannot compare halfvec by cosine", r"using diskann \(e\)"):
        watch_items(db, "using diskann (e::halfvec(3))")
    with refused(db, "22023", "storage is 'halfvec', but index is 'diskann'", "storage => 'vector'"):
        watch_items(db, "diskann", storage="halfvec")


def test_an_ivfflat_index_has_as_many_dimensions_as_an_hnsw_index(db: Connection) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    with refused(db, "22023", "an IVFFlat index on halfvec takes at most 4000 dimensions, not 4001", "'none'"):
        run(db, "select sidecar.watch('items', 'title', dimensions => 4001, index => 'ivfflat')")


@pytest.mark.parametrize(
    ("rows", "lists"), [(0, 10), (9_999, 10), (250_000, 250), (1_000_000, 1000), (4_000_000, 2000), (10**13, 32768)]
)
def test_the_lists_of_an_ivfflat_index_follow_from_its_rows(db: Connection, rows: int, lists: int) -> None:
    assert value(db, "select sidecar_internal.ivfflat_lists(%s)", rows) == lists


def test_an_option_may_be_a_text_of_several_lines(db: Connection) -> None:
    """As the options of VectorChord, which are TOML."""
    text = "residual_quantization = true\n[build.internal]\nlists = [100]\nname = 'x', m = 3"
    quoted = text.replace("'", "''")
    [(read, written)] = run(
        db,
        "select o, sidecar_internal.index_options(o) from sidecar_internal.read_index_options(%s) o",
        f"options = '{quoted}', probes = '10'",
    )
    assert read == [f"options={text}", "probes=10"]
    assert written == f" with (options = '{quoted}', probes = 10)"


def test_options_that_are_written_to_the_table_by_hand_are_quoted(db: Connection) -> None:
    watch_items(db, "hnsw")
    run(
        db,
        "update sidecar_internal.watches set index_method = 'hnsw(e); x', index_options = %s",
        ["m=1); reset role; --", "a b=2'"],
    )
    assert statement_of(db).endswith(
        """using "hnsw(e); x" ((e::public.halfvec(3)) public.halfvec_cosine_ops) """
        """with (m = '1); reset role; --', "a b" = '2''')"""
    )


def test_an_index_with_other_options_does_not_serve_unless_none_were_asked_for(db: Connection) -> None:
    watch_items(db, "hnsw")
    run(db, f"create index mine on items using hnsw {HALFVEC} with (m = 24, ef_construction = 100)")
    shown = "select index from sidecar.status"
    assert value(db, shown) == "public.mine"
    watch_items(db, "using hnsw with (m = 24)")
    assert value(db, shown) == "public.mine"
    watch_items(db, "using hnsw with (m = 25)")
    assert value(db, shown) == "not built yet"
    watch_items(db, "ivfflat")
    assert value(db, shown) == "not built yet"


def test_the_names_of_indexes_never_collide(committed: Connection) -> None:
    """A former index stays until the new one is there; here invalid ones stay in the way, too."""
    names = []
    for m in (5, 6, 7, 8):
        watch_items(committed, f"using hnsw with (m = {m})")
        [create, *_] = value(committed, "select index_statement from sidecar.status").split(";\n")
        run(committed, create)
        names.append(create.split()[3])
        run(committed, "update pg_index set indisvalid = false where indexrelid = %s::text::regclass", names[-1])
    oid = value(committed, "select to_hex('items'::regclass::oid::bigint)")
    assert names == ["items_e_hnsw_1", f"items_e_{oid}_hnsw_1", f"items_e_{oid}_2_hnsw_1", f"items_e_{oid}_3_hnsw_1"]
    former = {
        row[0]
        for row in run(
            committed, "select index::text from sidecar_internal.watches w, sidecar_internal.former_indexes(w)"
        )
    }
    assert former == set(names[:-1])


def test_a_watch_whose_extension_is_gone_says_so_when_it_builds(db: Connection) -> None:
    install_method(db, "vchordrq")
    watch_items(db, "vchordrq")
    run(db, "drop access method vchordrq cascade")
    assert value(db, "select index from sidecar.status") == "not built yet"
    with pytest.raises(psycopg.Error, match='access method "vchordrq" does not exist'), db.transaction():
        run(db, statement_of(db).replace("concurrently", ""))
