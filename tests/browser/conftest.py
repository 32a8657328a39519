"""A browser, and sidecars to look at.

chromium             Debian's, for all tests
└── open_console     a tab; the test fails if its scripts or its security policy report anything
demo                 `sidecar serve` with the demo's model, table and rows, without keys
toys                 sidecars with a toy model, on databases of the test's own
blank                one with a toy model where nothing is watched, for answers that tests make up
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, sync_playwright

from sidecar.demo.example import create_example
from tests.browser.chromium import arguments, find_chromium
from tests.browser.console import Console
from tests.integration.server.process import Process, sidecar_process
from tests.servers import Server
from tests.tiny_models.cross_encoder import make_tiny_cross_encoder
from tests.waiting import wait_until

OpenConsole = Callable[..., Console]
Toys = Callable[..., Process]

_HERE = Path(__file__).parent
ROWS = 600  # of the demo
_EMBEDDING_S = 240.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip("chromium is missing: Debian's package of that name has it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments())
        yield browser
        browser.close()


@pytest.fixture
def open_console(chromium: Browser) -> Iterator[OpenConsole]:
    """`open_console(url, width=390, dark=True)`; other options are those of Playwright's contexts."""
    opened: list[Console] = []

    def open_one(url: str, *, width: int = 1280, height: int = 900, dark: bool = False, **options: Any) -> Console:
        scheme = "dark" if dark else "light"
        size = {"width": width, "height": height}
        context = chromium.new_context(viewport=size, color_scheme=scheme, locale="en", **options)  # type: ignore[arg-type]
        opened.append(Console(context.new_page(), url))
        return opened[-1]

    yield open_one
    for console in opened:
        console.page.context.close()
    assert [console.problems for console in opened] == [[]] * len(opened)


@pytest.fixture(scope="session")
def demo_database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    with postgres_server.lend_database(migrated_template) as url:
        create_example(url)
        with psycopg.connect(url) as connection:  # a third, to be quick: faces, animals and food are among them
            connection.execute("delete from emoji where id > %s", [ROWS])
        yield url


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_database_url: str) -> Iterator[Process]:
    """All rows are embedded."""
    settings = {
        "DATABASE_URL": demo_database_url,
        "VISION_MODEL_ID": "demo",
        "REQUIRE_CUDA": "0",
        "ENABLE_MULTI_SCALE": "0",
        "RERANK_MODEL_ID": f"local-dir:{make_tiny_cross_encoder(tmp_path_factory.mktemp('cross-encoder'))}",
    }
    directory = tmp_path_factory.mktemp("sidecar")
    with sidecar_process(directory, ("-c", "from sidecar.cli import main; main()", "serve"), **settings) as process:
        process.await_ready(timeout_s=_EMBEDDING_S)  # it imports torch
        wait_until(lambda: _pending(process.url) == 0, lambda: f"all rows\n{process.log}", _EMBEDDING_S)
        yield process
        process.stop()
        assert process.exit_code() == 0, process.log


def _pending(url: str) -> int:
    watches = httpx.get(f"{url}/status", timeout=30).json()["watches"]
    return sum(watch["pending"] for watch in watches)


def await_vectors(database_url: str) -> None:
    """Waits until no row of the database is pending."""
    if not database_url:
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        query = "select coalesce(sum(pending), 0) from sidecar.status"
        wait_until(lambda: connection.execute(query).fetchone() == (0,), "all rows to be embedded", _EMBEDDING_S)


@pytest.fixture(scope="session")
def blank(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Server, migrated_template: str
) -> Iterator[Process]:
    """Nothing is watched there, and no test may change that."""
    program = ("-m", "tests.integration.server.program", "words")
    with postgres_server.lend_database(migrated_template) as url:
        settings = {"DATABASE_URL": url, "VISION_MODEL_ID": "words"}
        with sidecar_process(tmp_path_factory.mktemp("sidecar"), program, **settings) as process:
            process.await_ready()
            yield process


@pytest.fixture
def toys(tmp_path: Path, database_url: str) -> Iterator[Toys]:
    """`toys(database_url, API_KEYS=…)`: a ready sidecar whose model knows words and colours by name.

    They end before the test's database does.
    """
    with ExitStack() as stack:

        def start(database_url: str, *, encoder: str = "words", await_ready: bool = True, **settings: str) -> Process:
            directory = tmp_path / f"sidecar-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            program = ("-m", "tests.integration.server.program", encoder)
            settings = {"DATABASE_URL": database_url, "VISION_MODEL_ID": encoder, **settings}
            process = stack.enter_context(sidecar_process(directory, program, **settings))
            if await_ready:
                process.await_ready()
                await_vectors(database_url)
            return process

        yield start
