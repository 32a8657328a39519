"""The commands of docs/rest.md work, and it lists every error code."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from tests.encoders import HashEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import picture

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:9000"
CODE = re.compile(r'(?:InputError|PictureRejected|TextRejected|NotReady|PydanticCustomError)\(\s*"([a-z_]+)"')


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [block for block in found if ADDRESS in block]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the files that the examples read, and a curl that fails on error statuses."""
    (tmp_path / "photo.jpg").write_bytes(picture(kind="JPEG"))
    (tmp_path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    return tmp_path


async def run(directory: Path, *command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(directory)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_the_commands_succeed(directory: Path) -> None:
    assert len(blocks("sh")) >= 2
    async with live_server(HashEncoder()) as port:
        for block in blocks("sh"):
            await run(directory, "sh", "-euc", block.replace(ADDRESS, f"http://127.0.0.1:{port}"))


async def test_the_program_with_openais_client_runs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = blocks("python")
    monkeypatch.chdir(directory)
    names: dict[str, object] = {}
    async with live_server(HashEncoder()) as port:
        program = program.replace(ADDRESS, f"http://127.0.0.1:{port}")
        await asyncio.to_thread(exec, f"{program}\nclient.close()", names)
    assert names["model"] == "hash"
    vectors = names["vectors"]
    assert isinstance(vectors, list)
    assert [len(vector) for vector in vectors] == [1152, 1152]


def test_every_error_code_is_documented() -> None:
    sources = [*(ROOT / "sidecar" / "http").rglob("*.py"), *(ROOT / "sidecar" / "pictures").glob("*.py")]
    codes = {code for source in sources for code in CODE.findall(source.read_text(encoding="utf-8"))}
    listed = PAGE.partition("## Errors")[2].partition("\n## ")[0]
    assert len(codes) > 40
    assert sorted(code for code in codes if f"`{code}`" not in listed) == []
