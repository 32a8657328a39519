"""The commands of docs/security.md run, and its tables match the service."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import yaml

from sidecar.api_keys.key import Scope
from sidecar.api_keys.keys_file import parse_file
from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.live_server import live_server

PAGE = (Path(__file__).parents[4] / "docs" / "security.md").read_text(encoding="utf-8")
KEY = "key-of-the-document-0123"


def paths_of(scope: Scope) -> set[str]:
    """The paths that the page's table lists for `scope`."""
    (row,) = re.findall(rf"^\| `{scope.value}` \| (.+) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`(/[^`]*)`", row.partition(": ")[0]))


async def test_the_table_of_scopes_names_every_endpoint_that_needs_a_key(serving: Serving) -> None:
    keys = {scope: f"{scope.value}-0123456789abcdef" for scope in Scope}
    found: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    async with serving(api_keys=",".join(f"{scope}:{key}" for scope, key in keys.items())) as client:
        document = (await client.get("/openapi.json")).json()
        for path, operations in document["paths"].items():
            for method in operations:
                if path == "/events":
                    method = "head"  # noqa: PLW2901 - the body of a GET has no end
                for scope, key in keys.items():
                    asked = {"headers": {"Authorization": f"Bearer {key}"}}
                    denied = (await client.request(method, path, **asked)).status_code == 403  # type: ignore[arg-type]
                    bare = (await client.request(method, path)).status_code == 401
                    if bare and not denied:
                        found[scope].add(path)
    assert found == {scope: paths_of(scope) for scope in Scope}


async def test_the_commands_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    async with live_server(HashEncoder(), api_keys_file=file) as port:
        variables = {"SIDECAR": f"http://127.0.0.1:{port}", "KEY": KEY, "KEYS": str(file)}
        for block in blocks:
            shell = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", block),
                env={"PATH": os.environ["PATH"], **variables},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await asyncio.wait_for(shell.communicate(), 30)
            assert shell.returncode == 0, (block, printed)
    assert len(file.read_text().splitlines()) == 3


def test_the_keys_of_the_front_end_are_read_as_the_page_says() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shop, operator = parse_file(block.replace("…", KEY))
    assert (shop.name, operator.name) == ("shop", "operator")
    assert shop.scopes == {Scope.SEARCH}
    assert [str(table) for table in shop.tables or ()] == ["public.products", "public.reviews, target body_embedding"]
    assert shop.filter == {"tenant_id": 7}
    assert str(shop.rate) == "20 requests per second, 40 at once"


def test_the_scrape_configuration_reads_its_key_from_a_file() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert set(job["authorization"]) == {"credentials_file"}
