"""docs/mcp.md: its configuration names settings that there are, its keys are valid, and it lists the tools."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from sidecar.api_keys.key import Scope
from sidecar.api_keys.keys_file import parse_file
from sidecar.config import Settings
from tests.command_line import CommandLine
from tests.integration.mcp.test_mcp import EVERYWHERE, TOOLS
from tests.ports import find_free_port

PAGE = (Path(__file__).parents[3] / "docs" / "mcp.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_configuration_of_a_client_starts_the_program_with_settings_that_there_are() -> None:
    server = json.loads(_block("json"))["mcpServers"]["sidecar"]
    assert [server["command"], *server["args"]] == ["sidecar", "mcp"]
    assert {name.lower() for name in server["env"]} <= set(Settings.model_fields)


def test_the_key_of_an_assistant_is_valid() -> None:
    (key,) = parse_file(_block("toml").replace("…", "0123456789abcdef"))
    assert (key.name, key.scopes, key.filter) == ("assistant", frozenset({Scope.SEARCH}), {"published": True})


def test_the_table_lists_every_tool() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == TOOLS


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_without_the_sdk_the_error_names_the_extra(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sidecar.mcp.serving", "sidecar.mcp.tools", "sidecar.mcp.service", "sidecar.mcp.reports"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    error = command_line.fail("mcp", code=2)
    assert error == "ERROR: The MCP SDK is not installed.\nHINT: pip install 'sidecar-embeddings[mcp]'\n"


def test_other_machines_are_served_only_if_the_service_asks_for_keys(command_line: CommandLine) -> None:
    nothing = f"http://127.0.0.1:{find_free_port()}"
    outcome = command_line("mcp", "--http", "--host", EVERYWHERE, "--port", str(find_free_port()), "--url", nothing)
    assert outcome.code == 2
    assert f"ERROR: --host 0.0.0.0: The service does not answer at {nothing}" in outcome.stderr
    assert "an address such as http://" in command_line.fail("mcp", "--url", "localhost:9000", code=2)
