"""The address that a hint says to export is one word of the shell, whatever the database's name."""

from __future__ import annotations

import shlex
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from sidecar.operations.rights import Right, grant_hint
from tests.servers import Server


def test_the_address_of_the_owner_can_be_pasted(postgres_server: Server, migrated_template: str) -> None:
    name = "we'ird; $(touch x) '"
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
        )
        try:
            admin.execute("create role stranger_to_name login password 'pw'")
            parts = urlsplit(postgres_server.url)
            url = f"postgresql://stranger_to_name:pw@{parts.hostname}:{parts.port}/{quote(name)}"
            with psycopg.connect(url) as stranger:
                hint = grant_hint(stranger, Right.INSTALLER) or ""
        finally:
            admin.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
            admin.execute("drop role stranger_to_name")
    [assignment] = shlex.split(hint)[-1:]
    assert urlsplit(assignment.partition("=")[2]).path == f"/{quote(name, safe='')}"
