"""Other releases: older commits from git's history, and a next one, with a revision that exists only in
tests.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.operations.migrations import migrate
from sidecar.postgres import shipped
from tests.integration.ingest.processes import CHECKOUT
from tests.servers import open_directory

PARTS = ("sidecar", "migrations", "sql", "tests")
MIGRATE = """
import sys
try:
    from sidecar.operations.migrations import migrate
except ModuleNotFoundError:
    from sidecar.postgres.migrations import migrate
migrate(sys.argv[1])
"""

# What a release may change: add to the tables, those of existing watches included, and replace code.
NEXT_REVISION = "9000"
NEXT_TABLES = """
alter table sidecar_internal.watches add column remark text;
do $$
declare
    id integer;
begin
    for id in select w.id from sidecar_internal.watches w where w.unwatched_at is null loop
        execute format('alter table sidecar_internal.ledger_%s add column remark text', id);
    end loop;
end $$;
"""
NEXT_TWIN = '''
"""Remarks."""

from sidecar.operations.migrations import run_sql_file

revision, down_revision, branch_labels, depends_on = "9000", "{head}", None, None


def upgrade() -> None:
    """Runs sql/tables/9000_next.sql."""
    run_sql_file("tables/9000_next.sql")


def downgrade() -> None:
    """Nothing."""
'''
NEXT_CODE = """
create or replace function sidecar_internal.remark_of(w sidecar_internal.watches) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$ select w.remark $$;
"""


@contextmanager
def checkout_of(commit: str) -> Iterator[Path]:
    """A checkout of `commit`. Skips the test if there is no git history."""
    archive = subprocess.run(["git", "archive", commit, *PARTS], cwd=CHECKOUT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip("needs a checkout with its history")
    with open_directory() as directory:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(directory, filter="data")
        yield directory


@contextmanager
def next_release(head: str) -> Iterator[Path]:
    """This checkout's code with a revision after `head`, new columns, a new function and a changed one."""
    with open_directory() as directory:
        for part in PARTS:
            shutil.copytree(CHECKOUT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
        (directory / "sql" / "tables" / "9000_next.sql").write_text(NEXT_TABLES)
        (directory / "migrations" / "versions" / "9000_next.py").write_text(NEXT_TWIN.format(head=head).lstrip())
        (directory / "sql" / "code" / "remarks.sql").write_text(NEXT_CODE)
        queue = directory / "sql" / "code" / "queue.sql"
        ledger = "version bigint not null default (floor(random() * 9007199254740992))::bigint,"
        assert ledger in queue.read_text(), "a release has to change create_ledger too"
        queue.write_text(queue.read_text().replace(ledger, f"{ledger}\n            remark text,"))
        yield directory


def migrate_here(checkout: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs this `migrate` with the migrations and SQL files of another release, without starting an interpreter."""
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "PACKAGE", checkout / "sidecar")
        migrate(url)


def migrate_with(checkout: Path, url: str) -> None:
    """Runs the `sidecar migrate` of another release."""
    subprocess.run([sys.executable, "-c", MIGRATE, url], cwd=checkout, check=True)
