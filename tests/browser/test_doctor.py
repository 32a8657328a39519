"""The findings of doctor: what is wrong, and the statement that repairs it, to copy."""

from __future__ import annotations

import psycopg
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.servers import Server


def test_a_fault_is_shown_with_the_statement_that_repairs_it_until_it_is_repaired(
    open_console: OpenConsole, toys: Toys, postgres_server: Server, migrated_template: str
) -> None:
    with (
        postgres_server.lend_database(migrated_template) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute("create table items (id int primary key, title text)")
        connection.execute("select sidecar.watch('items', 'title', target => 'e', dimensions => 16)")
        connection.execute("alter table items disable trigger all")
        console = open_console(toys(url).url).open("doctor")
        finding = console.page.get_by_role("list", name="Findings").get_by_role("listitem").filter(has_text="problem")
        expect(finding.first).to_contain_text("items")
        repair = console.page.get_by_role("region", name="SQL that repairs it").first.inner_text()
        connection.execute(repair.encode())
        console.page.wait_for_function("() => true")
        console.page.get_by_role("button", name="Look again").click()
        expect(finding).to_have_count(0, timeout=60_000)


def test_a_database_that_is_away_is_told_with_what_to_do(open_console: OpenConsole, toys: Toys) -> None:
    service = toys("postgresql://nobody:x@127.0.0.1:1/nothing")
    page = open_console(service.url).open("doctor").page
    expect(page.get_by_role("alert")).to_contain_text("The service does not reach its database.")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
