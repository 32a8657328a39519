"""The data directory of the embedded server: its creation, and the server's state recorded in it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.embedded_postgres.programs import copy_programs_for
from sidecar.embedded_postgres.user import ServerUser
from sidecar.errors import DatabaseUnavailable

# Minimal, so that no PGPORT or PGDATA of the user's reaches the server.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_LOCALE = {"16": ["--no-locale"], "18": ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]}
_MAX_SOCKET_PATH = 100  # 107 on Linux, 103 on macOS


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The contents of `postmaster.pid`. `status` is `starting`, `ready`, `stopping` or `standby`."""

    pid: int
    port: int
    status: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory. `directory` belongs to the user of this process, `data` inside it to the server's user."""

    directory: Path
    version: str
    user: ServerUser

    @property
    def data(self) -> Path:
        return self.directory / "cluster"

    @property
    def log(self) -> Path:
        """The server's log. The server and its children hold a lock on it, which shows that the cluster is in use."""
        return self.directory / "postgres.log"

    @property
    def password(self) -> str:
        return self._password_file.read_text().strip()

    @property
    def socket_directory(self) -> str:
        """The directory of the Unix socket; empty, for no socket, if its path would be too long for the kernel."""
        longest = len(os.fsencode(self.data / ".s.PGSQL.65535"))
        return str(self.data) if longest <= _MAX_SOCKET_PATH else ""

    @property
    def _deleted(self) -> Path:
        return self.directory / "cluster.deleted"

    @property
    def _password_file(self) -> Path:
        return self.directory / "postgres.password"

    def create_directory(self) -> None:
        """Creates `directory`, or uses an empty one. Raises DatabaseUnavailable if it cannot be used."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if self.directory.stat().st_uid != os.geteuid():
                raise DatabaseUnavailable(f"{self.directory} belongs to another user. Choose another data directory.")
            if not any(self.directory.iterdir()):
                self.user.share_with_group(self.directory, 0o710)
        except OSError as error:
            raise DatabaseUnavailable(f"Cannot use {self.directory} as a data directory: {error.strerror}.") from error
        if closed := self.user.first_unreachable(self.directory):
            raise DatabaseUnavailable(
                f"Postgres does not run as root, and its user {self.user.name} cannot enter {closed}."
                f" Choose a data directory elsewhere, open this one with `chmod o+x {closed}`,"
                " or start this as an ordinary user."
            )

    def initialise(self, *, sync: bool) -> Path:
        """Runs initdb unless it was run before. Returns the folder of the server's programs."""
        programs = copy_programs_for(self.user, self.version, self.directory)
        shutil.rmtree(self._deleted, ignore_errors=True)
        if not self.data.exists():
            self._run_initdb(programs, sync=sync)
        version = stored_version(self.directory)
        if version != self.version:
            raise DatabaseUnavailable(
                f"{self.directory} holds the data of PostgreSQL {version}, not {self.version}."
                f" Choose version {version}, or another data directory."
            )
        self._remove_stale_pid_file()
        return programs

    def delete_data(self) -> None:
        """Deletes all databases. The password stays, for the next server. Needs the lock on the log."""
        shutil.rmtree(self._deleted, ignore_errors=True)
        with suppress(FileNotFoundError):
            self.data.rename(self._deleted)  # at once: if the rest is interrupted, `initialise` goes on with it
        shutil.rmtree(self._deleted, ignore_errors=True)

    def read_postmaster(self) -> Postmaster | None:
        """The state of the server; None if there is none, or it has not written everything yet."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        return Postmaster(int(lines[0]), int(lines[3]), lines[7].strip()) if len(lines) >= 8 else None

    def _run_initdb(self, programs: Path, *, sync: bool) -> None:
        # Renamed when it is complete: a crash leaves nothing that looks like a cluster.
        unfinished = self.directory / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        self.user.give_ownership(unfinished, 0o700)
        self._password_file.touch(mode=0o600)
        if not self.password:
            self._password_file.write_text(secrets.token_urlsafe(24))
        self.user.share_with_group(self._password_file, 0o600 if self.user.name is None else 0o640)
        command: list[str | Path] = [
            programs / "initdb",
            "-D",
            unfinished,
            "--username=postgres",
            "--encoding=UTF8",
            "--no-instructions",
        ]
        command += ["--auth=scram-sha-256", f"--pwfile={self._password_file}", *_LOCALE[self.version]]
        command += [] if sync else ["--no-sync"]
        code, output = self._run_to_its_end(command)
        if code != 0:
            raise DatabaseUnavailable(f"initdb failed in {self.directory}:\n{output}".rstrip())
        unfinished.rename(self.data)

    def _run_to_its_end(self, command: Sequence[str | Path]) -> tuple[int, str]:
        """Exit code and output. If this is interrupted, the program and those it started are gone before it returns."""
        program = subprocess.Popen(
            command,
            cwd="/",
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **self.user.popen_arguments(),
        )
        try:
            output, _ = program.communicate()
        except BaseException:
            os.killpg(program.pid, signal.SIGKILL)
            program.communicate()  # the pipe closes with the last of them
            raise
        return program.returncode, output

    def _remove_stale_pid_file(self) -> None:
        """Postgres refuses to start while the process named in a stale file exists, even if it is another program."""
        postmaster = self.read_postmaster()
        program = Path(f"/proc/{postmaster.pid}/comm") if postmaster else None
        if program and program.exists() and program.read_text().strip() != "postgres":
            (self.data / "postmaster.pid").unlink()


def stored_version(directory: Path) -> str | None:
    """The major version of Postgres that made the databases in `directory`; None if there are none."""
    try:
        return (directory / "cluster" / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None
