"""The findings of doctor: what is wrong, and the statement that repairs it, to copy."""

from __future__ import annotations

import psycopg
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.test_keys import SQL
from tests.waiting import wait_until


def test_a_fault_is_shown_with_the_statement_that_repairs_it_until_it_is_repaired(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        connection.execute("alter table mugs disable trigger all")
        page = open_console(toys(database_url).url).open("doctor").page
        finding = page.get_by_role("list", name="Findings").get_by_role("listitem").filter(has_text="disabled")
        expect(finding).to_have_count(1)
        connection.execute(finding.get_by_role("region", name="SQL to run").inner_text().encode())

        def is_repaired() -> bool:  # a result is given for five seconds
            page.get_by_role("button", name="Look again").click()
            expect(page.get_by_role("status", name="Looking")).to_have_count(0)
            return finding.count() == 0

        wait_until(is_repaired, "the finding to disappear", 30)
