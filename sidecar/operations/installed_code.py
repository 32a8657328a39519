"""The functions and views of schema `sidecar`: today's definitions, replaced whole by each `sidecar migrate`."""

from __future__ import annotations

from sqlalchemy import Connection, text

from sidecar.postgres.shipped import code_digest, head_revision, read_code

# The files refer to each other in every direction, so bodies are checked when they run. Operators and types are looked
# up in pg_catalog only; hybrid_search takes a vector, whose type stands in the schema that pgvector was installed in.
_PREPARE = """
select set_config('check_function_bodies', 'off', true),
       set_config('search_path', 'pg_catalog, ' || quote_ident(n.nspname), true)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
"""

# A pgvector that is too old is refused here, not at the first watch. Nobody may call anything without a grant: roles
# that were granted something get what is new. Watches get today's trigger functions.
_FINISH = """
select sidecar_internal.vector_schema();
revoke all on all routines in schema sidecar, sidecar_internal from public;
select sidecar_internal.renew_grants();
do $$
begin
    perform sidecar_internal.own_queue(w.id) from sidecar_internal.watches w;
    perform sidecar_internal.create_trigger_functions(w) from sidecar_internal.watches w
        where w.unwatched_at is null and exists (select from pg_class c where c.oid = w.relation);
exception when insufficient_privilege then
    raise warning 'queues of present watches stay with who made them: %', sqlerrm;
end $$
"""

# Says what is installed, also where a schema was restored without its rows.
_RECORD = """
create or replace function sidecar.installation(out revision text, out code_digest text)
language sql immutable set search_path = pg_catalog, pg_temp as $$ select '{revision}', '{digest}' $$
"""
# A restore without privileges lets everybody call everything, trigger functions with their owner's rights included.
_OPEN_TO_ALL = """
select exists (select from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
               and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0)))
"""


def install_code(connection: Connection, *, anew: bool = False) -> bool:
    """Replaces all functions and views, in the caller's transaction. False: they were these already.

    `anew`: whatever is installed, as after a restore, which may have left some out.
    """
    is_same = _installed(connection) == (head_revision(), code_digest())
    if is_same and not anew and not connection.execute(text(_OPEN_TO_ALL)).scalar():
        return False
    connection.execute(text(_PREPARE))
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    record = _RECORD.format(revision=head_revision(), digest=code_digest())
    # Without parameters psycopg sends the text as it is: many statements, and % means itself.
    for script in (*read_code(), record, _FINISH):
        cursor.execute(script)
    return True


def _installed(connection: Connection) -> tuple[str, str] | None:
    exists = connection.execute(text("select to_regprocedure('sidecar.installation()') is not null")).scalar()
    if not exists:
        return None
    row = connection.execute(text("select revision, code_digest from sidecar.installation()")).one()
    return row.revision, row.code_digest
