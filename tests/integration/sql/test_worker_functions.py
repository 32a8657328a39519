"""The functions that running sidecars call, or name in their hints: a contract between the sidecars of one version and
the schema of the next.

An older sidecar works on a newer schema. So a function that changes its arguments, its result or its meaning gets a
new name with _v2, which the statements of this version call, and the old one is kept for one release, unchanged. A
function that no statement of this version calls any more stays listed for that release, too.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.sql.session import Connection, run

PACKAGE = Path(__file__).parents[3] / "sidecar"
GOLDEN = PACKAGE.parent / "tests" / "worker_functions.txt"

SIGNATURES = """
    select format('%%s.%%s(%%s) -> %%s', n.nspname, p.proname, pg_get_function_arguments(p.oid),
                  coalesce(nullif(pg_get_function_result(p.oid), ''), 'nothing'))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname || '.' || p.proname = any (%s) order by 1
"""
CHANGED = """
Running sidecars of the version before call this. Give the changed function a new name with _v2, let the statements
call that one, and keep the old one, as it was, for one release."""
ADDED = """
A statement or a hint calls a function that tests/worker_functions.txt does not list. Add this line to it."""


def called_functions() -> set[str]:
    """Schema and name of all functions in shipped statements and hints, including those rendered in Python."""
    sources = [
        path for suffix in ("sql", "py") for path in PACKAGE.rglob(f"*.{suffix}") if "operations" not in path.parts
    ]
    code = "\n".join(re.sub(r"--.*", "", path.read_text(encoding="utf-8")) for path in sources)
    return {f"{schema}.{name}" for schema, name in re.findall(r"\b(sidecar|sidecar_internal)\.(\w+)\(", code)}


def signatures(db: Connection, names: set[str]) -> set[str]:
    return {line for (line,) in run(db, SIGNATURES, list(names))}


def test_functions_that_running_sidecars_call_stay_as_they_were(db: Connection) -> None:
    listed = set(GOLDEN.read_text(encoding="utf-8").splitlines())
    present = signatures(db, called_functions() | {line.partition("(")[0] for line in listed})
    removed, added = sorted(listed - present), sorted(present - listed)
    assert not removed, "\n".join(removed) + CHANGED
    assert not added, "\n".join(added) + ADDED
