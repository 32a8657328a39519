"""The libraries of the console: the files that npm's packages have, and their licences."""

from __future__ import annotations

from tests.vendored_files import CHECKSUMS, FOLDER, checksums, packages


def test_each_vendored_file_has_the_checksum_that_it_was_fetched_with() -> None:
    assert CHECKSUMS.read_text(encoding="utf-8") == checksums()


def test_the_folder_holds_nothing_else() -> None:
    fetched = {name for package in packages() for name in package["files"].values()}
    assert {path.name for path in FOLDER.iterdir()} == fetched | {"packages.toml", "checksums.txt"}


def test_each_package_comes_with_its_licence() -> None:
    for package in packages():
        licence = FOLDER / package["files"]["LICENSE"]
        assert "licens" in licence.read_text().lower() or "Permission is hereby granted" in licence.read_text()
