"""Runs the blocks of a page, such as those of docs/recipes.

```sql      is run in the database, or is a file if its first line names one
```sh       is run in the directory of the page's files
```text     is the output of the shell block before it
```python, js, java   is a file, named by its first line
```properties         is not run; the page says so
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

RECIPES = Path(__file__).parents[3] / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"(?:#|//|--) ([\w./-]+\.(?:py|m?js|java|sql))\n")


def _default_environment() -> Mapping[str, str]:
    """The tests' PYTHONPATH, and Python warnings as errors."""
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PYTHONWARNINGS": "error"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page, followed in `directory`. Directories in `programs` come first in PATH.

    `name` is the file's in docs/recipes, or the path of another page.
    """

    name: str
    directory: Path
    database_url: str
    sidecar_url: str
    programs: Sequence[Path] = (Path(sys.executable).parent,)
    environment: Mapping[str, str] = field(default_factory=_default_environment)

    def follow(self, below: str = "# ", until: str = "") -> None:
        """Runs all blocks from the heading `below` to the heading `until`, or to the end."""
        page = (RECIPES / self.name).read_text(encoding="utf-8")
        blocks = BLOCK.findall(page[page.index(below) : page.index(until) if until else None])
        printed = ""
        for language, text in blocks:
            if language in {"python", "js", "java"} or FILE_NAME.match(text):
                self._write(text)
            elif language == "sql":
                self._run_sql(text)
            elif language == "sh":
                printed = self.run(text)
            elif language != "properties":
                assert language == "text", language
                assert printed == text, printed

    def run(self, commands: str) -> str:
        """Runs shell commands; returns their standard output."""
        programs = map(str, self.programs)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.directory,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                **self.environment,
                "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(self.directory), self.environment.get("PYTHONPATH")])),
                "DATABASE_URL": self.database_url,
                "SIDECAR_URL": self.sidecar_url,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_python(self, program: str) -> str:
        """Runs a Python program beside the page's files; returns its standard output."""
        (self.directory / "program.py").write_text(program, encoding="utf-8")
        return self.run("python program.py")

    def _run_sql(self, script: str) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for statement in filter(str.strip, script.split(";\n")):
                connection.execute(statement.encode())

    def _write(self, text: str) -> None:
        named = FILE_NAME.match(text)
        assert named, f"the block begins with {text[:40]!r}, not with the name of a file"
        path = self.directory / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
