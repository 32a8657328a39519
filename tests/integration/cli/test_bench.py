"""`sidecar bench` measures with the configured model and the user's rows, and changes nothing."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from sidecar.cpus import count_cpus
from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, parse
from tests.tiny_models.open_clip_model import make_tiny_model

QUICK = ("--rounds", "2", "--seconds", "0.01")


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    make_tiny_model(directory)
    return directory


@pytest.fixture(autouse=True)
def _model(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_MODEL_ID", f"local-dir:{model_directory}")
    monkeypatch.setenv("REQUIRE_CUDA", "0")
    monkeypatch.setenv("BATCH_MAX_VIEWS", "4")
    monkeypatch.setenv("DECODE_PROCESSES", "2")


def measured(command_line: CommandLine, *arguments: str) -> Any:
    return parse(command_line.succeed("bench", *arguments, *QUICK, "--json"))


def photo(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


def test_texts_of_a_table_are_read_tokenised_and_encoded_in_every_micro_batch(
    db: Db, command_line: CommandLine
) -> None:
    report = measured(command_line, "products", "title", "brand")
    (bench,) = report["measured"]
    assert (report["device"], report["backend"]) == ("cpu", "torch")
    assert (bench["kind"], bench["source"]) == ("text", "products.title brand")
    assert (bench["rows"], bench["sampled_rows"], bench["views_per_row"]) == (3, 3, 1)
    assert [part["part"] for part in bench["parts"][:2]] == ["reading rows", "tokenising"]
    assert [part["micro_batch"] for part in bench["parts"][2:]] == [1, 2, 4]
    for part in bench["parts"]:
        assert len(part["rounds"]) == 2
        assert min(part["rounds"]) > 0
        assert part["median"] == pytest.approx(median(part["rounds"]))


def test_the_rate_of_rows_is_that_of_the_slowest_part(db: Db, command_line: CommandLine) -> None:
    (bench,) = measured(command_line, "products", "title")["measured"]
    device = max(part["median"] for part in bench["parts"] if part["micro_batch"])
    rates = {part["part"]: part["median"] for part in bench["parts"] if not part["micro_batch"]} | {
        "the device": device
    }
    assert bench["rows_per_s"] == pytest.approx(min(rates.values()))
    assert rates[bench["limited_by"]] == pytest.approx(bench["rows_per_s"])


def test_views_of_pictures_are_counted_and_what_is_no_picture_left_out(db: Db, command_line: CommandLine) -> None:
    db.execute("update products set photo = %s where id = 1", [photo(300, 300)])
    db.execute("update products set photo = %s where id = 2", [b"no picture"])
    (bench,) = measured(command_line, "products", "photo")["measured"]
    assert (bench["kind"], bench["sampled_rows"], bench["views_per_row"]) == ("image", 2, 6)
    assert bench["unreadable"] == 1
    assert [part["unit"] for part in bench["parts"][:3]] == ["rows/s", "pictures/s", "views/s"]
    device = max(part["median"] for part in bench["parts"] if part["micro_batch"]) / 6
    decoded = bench["parts"][1]["median"] * min(count_cpus(), 2)
    assert bench["rows_per_s"] == pytest.approx(min(device, decoded, bench["parts"][0]["median"]), rel=1e-6)


def test_pictures_that_cannot_be_read_are_counted(db: Db, command_line: CommandLine) -> None:
    db.execute("update products set photo = %s where id = 1", [photo(300, 300)])
    db.execute("update products set photo = %s where id = 2", [b"no picture"])
    text = command_line.succeed("bench", "products", "photo", *QUICK)
    assert "1 of the 2 cannot be read as pictures, and were left out" in text


def test_a_column_without_a_single_picture_is_said_to_be_one(db: Db, command_line: CommandLine) -> None:
    db.execute("update products set photo = %s where id = 2", [b"no picture"])
    text = command_line.fail("bench", "products", "photo", *QUICK, code=1)
    assert "none of the 1 sampled contents is a picture that can be read. The last: The 10 bytes are" in text


def test_nothing_is_written_and_the_schema_is_not_needed(
    plain_database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    with psycopg.connect(plain_database_url, autocommit=True) as connection:
        connection.execute("create table products (id int, title text); insert into products values (1, 'red shoes')")
        connection.execute(
            "do $$ begin execute format('alter database %I set default_transaction_read_only = on',"
            " current_database()); end $$"
        )
    monkeypatch.setenv("DATABASE_URL", plain_database_url)
    (bench,) = measured(command_line, "products", "title")["measured"]
    assert bench["sampled_rows"] == 1


def test_without_a_table_no_database_is_needed(command_line: CommandLine, tmp_path: Path) -> None:
    picture = tmp_path / "rates.svg"
    text = command_line.succeed("bench", *QUICK, "--svg", str(picture))
    assert "built in: 256 texts" in text
    assert "built in: 32 pictures, 6 views each" in text
    assert text.count("is the limit") == 2
    assert "tokenising: " in ET.parse(picture).getroot().attrib["aria-label"]  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("products",), 2, "sidecar bench TABLE COLUMN"),
        (("product", "title"), 1, "Did you mean products?"),
        (("products", "titel"), 1, "Did you mean 'title'?"),
        (("products", "photo"), 1, "HINT: Name a column that is filled"),
        (("--svg", "/nowhere/rates.svg"), 2, "there is no folder /nowhere"),
        (("--svg", "/"), 2, "/ is a folder: name a file in it"),
    ],
)
def test_what_cannot_be_measured_is_said_with_what_to_do(
    db: Db, command_line: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in command_line.fail("bench", *arguments, *QUICK, code=code)


def test_columns_are_completed(db: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SIDECAR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "sidecar bench products ti")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert command_line.succeed().split() == ["title"]
