"""The arithmetic of docs/sizing.md is that of its own measured rates and of `sidecar plan`."""

from __future__ import annotations

import math
import re

import pytest

from sidecar.operations.planning.device_rates import DEVICE_RATES
from sidecar.operations.planning.estimate import Target, estimate
from tests.named_tests import ROOT, rows, sections_of

SECTIONS = sections_of((ROOT / "docs" / "sizing.md").read_text(encoding="utf-8"))


def _tables(section: str) -> list[list[list[str]]]:
    """The rows of each table, without its header."""
    return [rows(table) for table in re.findall(r"(?:^\|.*\n)+", SECTIONS[section], re.MULTILINE)]


RATES = {row[0].removeprefix("NVIDIA "): row[1:3] for row in _tables("The device")[0]}
VIEWS_PER_S = {device: float(cells[0]) for device, cells in RATES.items()}
TEXTS_PER_S = {device: float(cells[1].replace(",", "")) for device, cells in RATES.items() if cells[1]}
DEVICES = ("H100", "RTX 4090", "RTX 3090", "two CPU cores")


def _describe(seconds: float) -> str:
    units = (
        ("s", 1, 90),
        ("min", 60, 5400),
        ("h", 3600, 172_800),
        ("days", 86_400, 31_000_000),
        ("years", 31_557_600, math.inf),
    )
    unit, size = next((unit, size) for unit, size, limit in units if seconds < limit)
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.2g} {unit}"


def test_the_rates_are_those_of_plan() -> None:
    said = [tuple(row[:3]) for row in _tables("The device")[0]]
    assert said == [
        (rate.device, f"{rate.views_per_s:,.4g}", f"{rate.texts_per_s:,}" if rate.texts_per_s else "")
        for rate in DEVICE_RATES
    ]


@pytest.mark.parametrize("row", _tables("The device")[1], ids=lambda row: row[0])
def test_hours_follow_from_rows_views_and_rates(row: list[str]) -> None:
    number = int(row[0].replace(",", ""))
    one, eight = number, 8 * number
    texts = [number / TEXTS_PER_S[device] for device in ("H100", "two CPU cores")]
    seconds = [*texts, one / VIEWS_PER_S["H100"], *(eight / VIEWS_PER_S[device] for device in DEVICES)]
    assert row[1:] == [_describe(s) for s in seconds]


@pytest.mark.parametrize(
    ("row", "views"), list(zip(_tables("What else can be the limit")[0], (8, 1), strict=False)), ids=("eight", "one")
)
def test_cores_that_decode_follow_from_the_rates(row: list[str], views: int) -> None:
    small, large = (int(rate) for rate in re.findall(r"\b(\d+)(?= (?:pictures a second )?of 1\.?2 megapixels)", row[1]))
    needed = VIEWS_PER_S["H100"] / views
    cores = (f"{needed / rate:.2g}" for rate in (small, large))
    assert f"{needed:.0f} pictures a second of an H100 need {' to '.join(cores)} cores" in row[2]


@pytest.mark.parametrize("row", _tables("Disk")[0], ids=lambda row: row[0])
def test_disk_is_what_plan_estimates(row: list[str]) -> None:
    number = 1_000_000
    default, halves, long_index = (
        estimate(number, [100], 1.0, Target(int(row[0]), storage, index, 0), None)
        for storage, index in (("vector", "halfvec"), ("halfvec", "halfvec"), ("vector", "vector"))
    )
    sizes = (default.vector_bytes, halves.vector_bytes, default.index_bytes, long_index.index_bytes)
    totals = (f"{each.disk_bytes / 1e9:.1f} GB" for each in (default, halves))
    assert row[1:] == [*(f"{size / number:,.0f} B" for size in sizes), *totals]


def test_changed_pictures_an_hour_follow_from_the_rates() -> None:
    [row] = _tables("After the backfill")[0]
    assert row[1:] == [f"{VIEWS_PER_S[device] / 8 * 3600:,.0f}" for device in DEVICES]


@pytest.mark.parametrize(
    ("row", "price"), list(zip(_tables("Money")[0], (3, 0.5), strict=True)), ids=lambda value: str(value)[:12]
)
def test_money_is_hours_times_the_price(row: list[str], price: float) -> None:
    hours = 8_000_000 / VIEWS_PER_S[row[0]] / 3600
    assert row[1:] == [f"{hours:.1f}", f"{hours * price:.1f}"]


def test_is_it_for_me_computes_with_the_same_rates() -> None:
    page = " ".join((ROOT / "docs" / "is-it-for-me.md").read_text(encoding="utf-8").split())
    h100, cpu = VIEWS_PER_S["H100"], VIEWS_PER_S["two CPU cores"]
    assert f"{h100:.0f} views a second were measured on one H100, which makes {8e6 / h100 / 3600:.1f} hours" in page
    assert (round(6000 / cpu / 3600), round(8000 / cpu / 3600)) == (6, 8)
    assert "six to eight views, so a thousand photos take six to eight hours" in page
