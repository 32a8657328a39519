"""Pages name functions, views and modules that exist, and docs/comparison.md has a source for what it says."""

from __future__ import annotations

import re

import pytest

from tests.named_tests import ROOT, sections_of

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
_NAME = re.compile(r"(?<![\w./-])(sidecar(?:_internal)?)\.([a-z_]+)\b(?!\.)")
_DEFINED = re.compile(r"(?:FUNCTION|PROCEDURE|VIEW|TABLE|SEQUENCE) (sidecar(?:_internal)?\.\w+)")
# Settings of a session, attributes of traces, files, and a table that only a test has.
_OTHERS = {
    "writer",
    "internal",
    "kind",
    "lane",
    "request_id",
    "rows",
    "stage",
    "units",
    "encoded_units",
    "service",
    "env",
}
_OTHERS |= {"alembic_version"}


def _existing() -> set[str]:
    schema = (ROOT / "tests" / "schema.sql").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "sidecar").iterdir()}
    return set(_DEFINED.findall(schema)) | {f"sidecar.{name}" for name in modules | _OTHERS}


@pytest.mark.parametrize("page", [*PAGES, "README.md", "CONTRIBUTING.md"])
def test_names_of_our_schema_exist(page: str) -> None:
    named = {".".join(found) for found in _NAME.findall((ROOT / page).read_text(encoding="utf-8"))}
    assert named <= _existing()


@pytest.mark.parametrize("page", PAGES)
def test_what_every_sidecar_counts_is_not_summed(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    summed = re.findall(r"\bsum(?: by \([^)]*\))? \(sidecar_watch_(?!\w*_total)\w+", text)
    assert not summed, f"each sidecar has the gauges of all watches; use max: {summed}"


def test_the_comparison_has_a_source_for_each_reference_and_uses_all_of_them() -> None:
    sections = sections_of((ROOT / "docs" / "comparison.md").read_text(encoding="utf-8"))
    sources = {int(number) for number in re.findall(r"^(\d+)\. ", sections["Sources"], re.MULTILINE)}
    tables = sections["Filling rows"] + sections["Serving embeddings"]
    assert {int(number) for number in re.findall(r"\[(\d+)\](?!\()", tables)} == sources


def test_each_claim_of_the_comparison_about_another_project_has_its_source() -> None:
    sections = sections_of((ROOT / "docs" / "comparison.md").read_text(encoding="utf-8"))
    lines = [line for name in ("Filling rows", "Serving embeddings") for line in sections[name].splitlines()]
    cells = [
        cell.strip()
        for line in lines
        if line.startswith("| ") and not line.startswith("| |")
        for cell in line.strip("|").split("|")[2:]
    ]
    silent = {"not read", "not measured", "–"}
    assert [cell for cell in cells if cell not in silent and not re.search(r"\[\d+\]", cell)] == []
