"""The console's own scripts: what no linter of Python looks at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.named_tests import ROOT

PAGE = ROOT / "sidecar/http/console/page"
SCRIPTS = sorted(path for path in PAGE.rglob("*.js") if path.parent.name != "vendor")
_IMPORT = re.compile(r"""(?:from|import\()\s*"([^"]+)\"""")
# Ways to make markup or code of a string. The policy of the page forbids them, too.
_FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|createContextualFragment|srcdoc"
    r"|\beval\(|new Function|javascript:|localStorage|document\.cookie"
)


def imports_of(script: Path) -> list[Path]:
    return [(script.parent / name).resolve() for name in _IMPORT.findall(script.read_text())]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_no_script_makes_markup_of_a_string_or_keeps_what_it_was_told(script: Path) -> None:
    assert not _FORBIDDEN.search(script.read_text())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_each_script_says_what_it_is_and_is_short(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= 300


def test_every_import_is_a_file_here_and_every_script_is_imported() -> None:
    """Without a build step nothing else would find a misspelt or a forgotten one."""
    reached, waiting = set(), [PAGE / "main.js"]
    while waiting:
        script = waiting.pop()
        if script not in reached:
            assert script.is_file(), script
            reached.add(script)
            waiting += imports_of(script)
    assert set(SCRIPTS) <= reached


def test_nothing_comes_from_elsewhere() -> None:
    for path in [*SCRIPTS, PAGE / "style.css", PAGE / "index.html"]:
        foreign = re.findall(r"""["'(](https?:)?//[^"')\s]+|@import|\burl\(""", path.read_text())
        assert not foreign, path
