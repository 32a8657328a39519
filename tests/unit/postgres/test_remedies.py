"""Statements and lines of hints stand for the names that were refused, and for nothing else."""

from __future__ import annotations

import pytest

from sidecar.postgres.remedies import connection_hint, grant_worker_hint


@pytest.mark.parametrize("name", ["user", "order", "all", 'a"b', "Ann", "public"])
def test_a_name_that_means_something_else_without_quotes_has_them(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    assert f"create role {quoted} login;" in connection_hint(f'role "{name}" does not exist')
    assert f"create database {quoted};" in connection_hint(f'database "{name}" does not exist')
    assert f"to {quoted};" in connection_hint('permission denied for database "shop"', name)
    assert f"grant_worker('{quoted}')" in grant_worker_hint(name)


def test_a_plain_name_has_none() -> None:
    assert "create role ann_2 login;" in connection_hint('role "ann_2" does not exist')


def test_a_line_of_pg_hba_admits_one_user_of_one_database() -> None:
    refused = 'no pg_hba.conf entry for host "192.0.2.7", user "all", database "replication"'
    assert 'host "replication" "all" 192.0.2.7/32' in connection_hint(refused)
