"""Schema `sidecar` is what users see with \\df+ sidecar.* and \\dv+ sidecar.*: the documented objects, each with a
description.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.sql.session import Connection, run

DOCS = Path(__file__).parents[3] / "docs"

PUBLIC = """
    backlog disable_embed embed enable_embed grant_reader grant_worker hybrid_search installation labels pause recall
    reembed renew_triggers resume retry revoke_grants
    search search_exposed search_page search_targets set_labels set_rate status_exact truncated_texts uninstall
    unreadable_texts unwatch verify wait_embedded watch
    failures failures_by_reason index_builds measured_recall scans status
    alembic_version
"""
OBJECTS = """
    select p.proname, obj_description(p.oid, 'pg_proc') from pg_proc p where p.pronamespace = 'sidecar'::regnamespace
    union all
    select c.relname, obj_description(c.oid, 'pg_class') from pg_class c
    where c.relnamespace = 'sidecar'::regnamespace and c.relkind not in ('i', 'I')
"""
# Row types come with their relation.
TYPES = """
    select t.typname from pg_type t where t.typnamespace = 'sidecar'::regnamespace and t.typrelid = 0 and t.typelem = 0
    union all select o.oprname from pg_operator o where o.oprnamespace = 'sidecar'::regnamespace
"""
COMMENTED = """
    select a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'sidecar'::regnamespace and col_description(c.oid, a.attnum) is not null
"""


def test_the_schema_contains_exactly_the_listed_objects(db: Connection) -> None:
    assert {name for name, _ in run(db, OBJECTS)} == set(PUBLIC.split())
    assert run(db, TYPES) == []


def test_every_public_object_has_a_description(db: Connection) -> None:
    for name, description in run(db, OBJECTS):
        assert description, f"{name} has no COMMENT ON"
        assert len(description) < 320, f"the description of {name} is longer than two sentences"
    assert len(run(db, COMMENTED)) > 20
    for schema in ("sidecar", "sidecar_internal"):
        assert run(db, "select obj_description(%s::text::regnamespace, 'pg_namespace')", schema) != [(None,)]


def test_the_docs_use_only_listed_objects() -> None:
    """Statements to be copied also use nothing of sidecar_internal, which the next version may change."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    named = set(re.findall(r"(?:from|call|select|join) sidecar\.(\w+)", pages))
    assert named <= set(PUBLIC.split())
    assert re.findall(r"(?:from|call|select|join) sidecar_internal\.\w+", pages) == []
