"""The user that the embedded server runs as: Postgres refuses to run as root, so root creates a user for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.errors import DatabaseUnavailable

_NAME = "sidecar-postgres"
_WAYS_TO_CREATE = (
    ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", _NAME],
    ["adduser", "-S", "-D", "-H", _NAME],  # BusyBox
)
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FIND_FIRST_UNREACHABLE = 'for directory; do test -x "$directory" || { printf %s "$directory"; exit 0; }; done'


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A system user. `name` is None if the server runs as the user of this process."""

    name: str | None
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """The arguments with which subprocess runs a program as this user."""
        return {} if self.name is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give_ownership(self, path: Path, mode: int) -> None:
        """Makes this user the owner of `path`, with permissions `mode`."""
        path.chmod(mode)
        os.chown(path, self.uid, self.gid)

    def share_with_group(self, path: Path, mode: int) -> None:
        """Gives this user's group what `mode` grants to a group; the owner stays."""
        path.chmod(mode)
        os.chown(path, -1, self.gid)

    def first_unreachable(self, directory: Path) -> Path | None:
        """The highest of `directory` and its parents that this user cannot enter; None if it can enter them all."""
        directories = [*reversed(directory.parents), directory]
        ended = subprocess.run(
            ["/bin/sh", "-c", _FIND_FIRST_UNREACHABLE, "sh", *directories],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
            **self.popen_arguments(),
        )
        return Path(ended.stdout) if ended.stdout else None


def find_server_user() -> ServerUser:
    """The user of this process; for root a system user named `sidecar-postgres`, which is created if it is missing.

    Raises DatabaseUnavailable if root cannot create or become that user.
    """
    if os.geteuid() != 0:
        return ServerUser(None, os.geteuid(), os.getegid())
    entry = _look_up_user() or _create_user()
    user = ServerUser(_NAME, entry.pw_uid, entry.pw_gid)
    try:
        subprocess.run(["/bin/sh", "-c", ":"], cwd="/", check=True, **user.popen_arguments())
    except OSError as error:
        raise DatabaseUnavailable(
            f"Postgres does not run as root, and this root may not become the user {_NAME}: {error.strerror}."
            " Start this as an ordinary user."
        ) from error
    return user


def _look_up_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_NAME)
    except KeyError:
        return None


def _create_user() -> pwd.struct_passwd:
    """Creates the system user by the first command that works. Raises DatabaseUnavailable if none does."""
    for command in _WAYS_TO_CREATE:
        program = shutil.which(command[0], path=_SYSTEM_PATH)
        if program is not None:
            subprocess.run([program, *command[1:]], capture_output=True, check=False)
        # Another process may have created it between the look-up and the command: only the outcome counts.
        if entry := _look_up_user():
            return entry
    raise DatabaseUnavailable(
        f"Postgres does not run as root, and the user {_NAME} could not be created for it."
        " Create that user, or start this as an ordinary one."
    )
