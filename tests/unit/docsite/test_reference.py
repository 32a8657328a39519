"""The reference pages that are made of the code alone are up to date, and say all that there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docsite.command_line import command_line_page
from docsite.reference import PAGES
from docsite.rest import rest_page


@pytest.mark.parametrize(("path", "make"), PAGES.items(), ids=[path.stem for path in PAGES])
def test_the_page_is_up_to_date(path: Path, make: Callable[[], str]) -> None:
    assert path.read_text(encoding="utf-8") == make(), f"{path.name} is out of date: run `make docs`"


def test_an_endpoint_has_its_body_with_bounds_its_answer_and_its_errors() -> None:
    endpoint = rest_page().partition("\n## `POST /search`\n")[2].partition("\n## ")[0]
    assert "| `table`\\* | string | The watched table, as in SQL. At most 1,000 characters. |" in endpoint
    assert "| `results`\\* | list of [FoundRow](#foundrow) |  |" in endpoint
    assert "[Errors](#errors): 400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503, 504" in endpoint


def test_a_command_has_its_usage_arguments_and_options_with_bounds_and_defaults() -> None:
    command = command_line_page().partition("\n## sidecar watch\n")[2].partition("\n## ")[0]
    assert "sidecar watch [OPTIONS] {TABLE}" in command
    assert "| `--dimensions N` | Length of the model's vectors. [default: 1152; 1&lt;=x&lt;=16000] |" in command
    assert "| `--storage <vector\\|halfvec>` |" in command
