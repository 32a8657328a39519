"""The console in a tab of a real browser, and what goes wrong in it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.browser.chromium import AXE

expect.set_options(timeout=20_000)

# Chromium reports each answer that is no success as an error: tests of refusals want those.
_ANSWERS = "Failed to load resource"


class Console:
    """A tab with the console. `problems` are the errors and warnings of its scripts and of its security policy."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("console", self._take_message)
        page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def open(self, screen: str = "search", **fields: str) -> Console:
        """Shows a screen. Fields are those of its address, such as `text`."""
        self.page.goto("about:blank")
        self.page.goto(self.address(screen, **fields))
        return self

    def address(self, screen: str = "search", **fields: str) -> str:
        return f"{self.url}/#/{screen}" + (f"?{urlencode(fields)}" if fields else "")

    def search(self, text: str) -> None:
        self.page.get_by_role("searchbox").fill(text)
        self.page.keyboard.press("Enter")

    @property
    def results(self) -> Locator:
        return self.page.get_by_role("list", name="Results").locator("> li")

    @property
    def names(self) -> list[str]:
        """The heads of the results, in order."""
        expect(self.results.first).to_be_visible()
        return self.results.locator(".name, h2").all_inner_texts()

    def await_results(self, first: str | None = None) -> None:
        expect(self.page.locator("section.found:not(.fading)")).to_be_visible()
        if first is not None:
            expect(self.results.first).to_contain_text(first)

    def await_drawing(self) -> None:
        """Until the page has drawn what it has been told so far."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(() => setTimeout(done))))")

    def code(self, title: str) -> str:
        """The text of a block of code, as its copy button copies it."""
        return self.page.get_by_role("region", name=title, exact=True).inner_text()

    def accessibility_faults(self) -> list[str]:
        """What axe finds, by the rules of WCAG 2.2 AA and its good practices."""
        self.page.evaluate(AXE.read_text() + ";0")
        report: dict[str, Any] = self.page.evaluate("axe.run(document)")
        return [
            f"{fault['id']}: {node['html']} {json.dumps(node['failureSummary'])}"
            for fault in report["violations"]
            for node in fault["nodes"]
        ]

    def _take_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_ANSWERS):
            self.problems.append(f"{message.type}: {message.text}")
