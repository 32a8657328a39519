"""Runs what a page of docs/recipes tells people to type.

```sql      is run in the database
```python   is a file: its first line names it
```sh       is run in the directory of those files
```text     is what the shell block before it printed
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg

RECIPES = Path(__file__).parents[3] / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w./]+\.py)\n")


@dataclass(frozen=True, slots=True)
class Page:
    """Page `name` of docs/recipes, followed in `directory`."""

    name: str
    directory: Path
    database_url: str
    sidecar_url: str

    def follow(self, below: str = "# ", until: str = "") -> None:
        """Everything from heading `below` to heading `until`, or the end."""
        page = (RECIPES / self.name).read_text(encoding="utf-8")
        blocks = BLOCK.findall(page[page.index(below) : page.index(until) if until else None])
        printed = ""
        for language, text in blocks:
            if language == "sql":
                self._run_sql(text)
            elif language == "python":
                self._write(text)
            elif language == "sh":
                printed = self.run(text)
            else:
                assert language == "text", language
                assert printed == text, printed

    def run(self, commands: str) -> str:
        """What they print to standard output. Python warnings are errors."""
        programs = Path(sys.executable).parent
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.directory,
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PYTHONPATH": f"{self.directory}:{os.environ.get('PYTHONPATH', '')}",
                "PYTHONWARNINGS": "error",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": self.database_url,
                "SIDECAR_URL": self.sidecar_url,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_python(self, program: str) -> None:
        """Beside the page's own files."""
        (self.directory / "program.py").write_text(program, encoding="utf-8")
        self.run("python program.py")

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
