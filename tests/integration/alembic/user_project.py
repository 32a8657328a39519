"""A copy of the example project, driven by Alembic's own command line."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent / "project"


@dataclass(frozen=True, slots=True)
class Project:
    """The project in `directory`, which belongs to one test. Warnings are errors."""

    directory: Path
    database_url: str

    @classmethod
    def copy_to(cls, directory: Path, database_url: str) -> Project:
        shutil.copytree(PROJECT, directory, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(directory, database_url)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `alembic ARGUMENTS`."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "alembic", *arguments],
            cwd=self.directory,
            env={**os.environ, "DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def succeed(self, *arguments: str) -> str:
        """Runs `alembic ARGUMENTS`, which must succeed; returns its stdout."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def succeed_beside(self, *arguments: str) -> str:
        """Like `succeed`, without blocking this process's event loop."""
        return await asyncio.to_thread(self.succeed, *arguments)

    def fail(self, *arguments: str) -> str:
        """Runs `alembic ARGUMENTS`, which must fail; returns its output."""
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def autogenerate(self, name: str) -> str:
        """Autogenerates revision `name` from the differences between models and database; returns its text."""
        self.succeed("revision", "--autogenerate", "--rev-id", name, "-m", name)
        (path,) = (self.directory / "versions").glob(f"{name}_*.py")
        return path.read_text(encoding="utf-8")
