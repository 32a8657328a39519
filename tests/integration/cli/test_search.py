"""`sidecar search` by text and by picture, against a running service."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.cli.conftest import Db, parse
from tests.integration.server.process import Process
from tests.ports import find_free_port
from tests.terminal import terminal

ENCODER = HashEncoder()


def png(colour: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "PNG")
    return file.getvalue()


def write_title_vectors(db: Db, table: str = "products", target: str = "e") -> None:
    """Embeds the titles, in place of a sidecar."""
    for key, title in db.execute("select id, title from products").fetchall():
        db.execute(f'update {table} set "{target}" = %s where id = %s', [str(ENCODER.vector_of(title).tolist()), key])


@pytest.fixture
def titles(db: Db) -> Db:
    """Products whose titles are embedded in column `e`."""
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    write_title_vectors(db)
    return db


def test_a_text_finds_the_nearest_rows(titles: Db, service: Process, command_line: CommandLine) -> None:
    found = parse(command_line.succeed("search", "products", "Blue shoes", "--url", service.url, "--json"))
    assert found[0]["row"] == {"id": 2, "title": "blue shoes", "brand": "Acme", "photo": None}
    assert found[0]["distance"] == pytest.approx(0, abs=1e-3)
    assert len(found) == 3
    distances = [row["distance"] for row in found]
    assert distances == sorted(distances)
    (expected,) = titles.execute(
        "select e <=> %s::vector from products where id = %s",
        [str(ENCODER.vector_of("blue shoes").tolist()), found[1]["row"]["id"]],
    ).fetchall()
    assert distances[1] == pytest.approx(expected[0], abs=1e-3)


def test_numbers_are_shown_as_they_are_stored(titles: Db, service: Process, command_line: CommandLine) -> None:
    titles.execute("alter table products add price numeric(10, 2), add rate numeric")
    titles.execute("update products set price = 1234567.80, rate = 0.12345678901234567890123")
    found = ("search", "products", "Blue shoes", "--limit", "1", "--url", service.url)
    assert "\t1234567.80\t0.12345678901234567890123" in command_line.succeed(*found)
    assert parse(command_line.succeed(*found, "--json"))[0]["row"]["price"] == 1234567.8


def test_the_limit_is_kept(titles: Db, service: Process, command_line: CommandLine) -> None:
    assert (
        len(parse(command_line.succeed("search", "products", "a hat", "--limit", "2", "--url", service.url, "--json")))
        == 2
    )


def test_more_rows_than_one_pass_over_the_index_finds_are_found(
    titles: Db, service: Process, command_line: CommandLine
) -> None:
    titles.execute("insert into products select n, 'product ' || n from generate_series(10, 99) n")
    write_title_vectors(titles)
    titles.execute("create index on products using hnsw ((e::halfvec(1152)) halfvec_cosine_ops)")
    titles.execute(f'alter database "{titles.info.dbname}" set enable_seqscan = off')
    found = parse(command_line.succeed("search", "products", "a hat", "--limit", "80", "--url", service.url, "--json"))
    assert len(found) == 80  # hnsw.ef_search is 40


def test_the_table_shows_key_distance_and_texts_but_no_vectors(
    titles: Db, service: Process, command_line: CommandLine
) -> None:
    titles.execute("update products set photo = %s where id = 3", [b"x" * 2048])
    text = command_line.succeed("search", "products", "a hat", "--url", service.url)
    assert text.splitlines()[0].split("\t") == ["id", "distance", "title", "brand", "photo"]
    key, distance, *others = text.splitlines()[1].split("\t")
    assert float(distance) == pytest.approx(0, abs=1e-3)
    assert (key, others) == ("3", ["a hat", "", "2048"])


def test_a_terminal_shows_how_near_each_row_is(
    titles: Db, service: Process, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles.execute("update products set photo = %s where id = 3", [b"x" * 2048])
    with terminal(monkeypatch, 80) as screen:
        command_line("search", "products", "a hat", "--url", service.url, "--limit", "1")
        assert screen.lines() == [
            "id  near      distance  title  brand  photo",
            " 3  ████████         0  a hat         2.0 KB",
        ]


def test_a_text_that_finds_pictures_has_the_models_probability_of_a_match(
    db: Db, service: Process, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("select sidecar.watch('products', source => 'photo', target => 'e')")
    write_title_vectors(db)
    db.execute("update sidecar_internal.watches set fingerprint = %s", [ENCODER.fingerprint])
    search = ("search", "products", "--url", service.url, "--limit", "1")
    (found,) = parse(command_line.succeed(*search, "a hat", "--json"))
    assert found["match_probability"] == pytest.approx(1, abs=1e-6)
    with terminal(monkeypatch, 80) as screen:
        command_line(*search, "something else")
        text = screen.read()
        assert " <1 % " in text
        assert "\nNothing near: " in text
    db.execute("update sidecar_internal.watches set kind = 'text'")
    (found,) = parse(command_line.succeed(*search, "a hat", "--json"))
    assert found["match_probability"] is None


def test_of_a_wide_row_only_some_columns_are_shown_on_a_terminal(
    titles: Db, service: Process, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles.execute("alter table products add a text, add b text, add c text, add d text, add f text, add g text")
    search = ("search", "products", "a hat", "--url", service.url)
    with terminal(monkeypatch, 120) as screen:
        command_line(*search)
        assert screen.lines()[-1] == "Not shown, but in --json and with --columns: d, f, g"
    header = command_line.succeed(*search).splitlines()[0].split("\t")
    assert header[-3:] == ["d", "f", "g"], "a program gets all columns"
    assert command_line.succeed(*search, "--columns", "g,id").splitlines()[:2] == ["g\tid", "\t3"]


def test_a_picture_file_finds_its_row(db: Db, service: Process, command_line: CommandLine, tmp_path: Path) -> None:
    db.execute("select sidecar.watch('products', source => 'photo', target => 'e')")
    for key, colour in enumerate(("red", "blue", "green"), 1):
        answer = httpx.post(f"{service.url}/embed/image", files={"file": png(colour)}, timeout=20)
        db.execute("update products set e = %s::text::vector where id = %s", [str(answer.json()["embedding"]), key])
    (tmp_path / "query").write_bytes(png("blue"))
    (found, *_) = parse(
        command_line.succeed("search", "products", str(tmp_path / "query"), "--url", service.url, "--json")
    )
    assert found["row"]["id"] == 2
    assert found["distance"] == pytest.approx(0, abs=1e-3)


def test_a_companion_table_is_searched_and_the_watched_rows_are_shown(
    db: Db, service: Process, command_line: CommandLine
) -> None:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e', companion => 'vectors')")
    for key, title in db.execute("select id, title from products").fetchall():
        db.execute("insert into vectors values (%s, %s)", [key, str(ENCODER.vector_of(title).tolist())])
    (found, *_) = parse(command_line.succeed("search", "products", "red shoes", "--url", service.url, "--json"))
    assert found["row"]["title"] == "red shoes"


def test_hostile_names_are_quoted(db: Db, service: Process, command_line: CommandLine) -> None:
    target = 'x" order by 1 limit 10'
    db.execute("""alter table products rename to "a ""order by b" """)
    db.execute("""select sidecar.watch('"a ""order by b"', source => 'title', target => %s::text)""", [target])
    quoted = '"' + target.replace('"', '""') + '"'
    vector = str(ENCODER.vector_of("a hat").tolist())
    db.execute(f"""update "a ""order by b" set {quoted} = %s where id = 3""", [vector])
    found = parse(command_line.succeed("search", '"a ""order by b"', "a hat", "--url", service.url, "--json"))
    assert [row["row"]["id"] for row in found] == [3]


def test_before_the_first_vector_it_points_to_status(db: Db, service: Process, command_line: CommandLine) -> None:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    assert "holds no vectors yet" in command_line.succeed("search", "products", "a hat", "--url", service.url)


def test_vectors_of_another_model_cause_a_warning(titles: Db, service: Process, command_line: CommandLine) -> None:
    titles.execute("update sidecar_internal.watches set fingerprint = %s", [ENCODER.fingerprint])
    command_line.succeed("search", "products", "a hat", "--url", service.url)
    titles.execute("update sidecar_internal.watches set fingerprint = 'other-space', encoder = 'other-model'")
    outcome = command_line("search", "products", "a hat", "--url", service.url)
    assert outcome.code == 0
    assert "was embedded by other-model (other-space), but the service runs hash" in outcome.stderr
    assert "means nothing" in outcome.stderr


def test_vectors_of_another_length_are_refused(db: Db, service: Process, command_line: CommandLine) -> None:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e', dimensions => 16)")
    error = command_line.fail("search", "products", "a hat", "--url", service.url)
    assert "holds vectors of 16 dimensions, but the service's model hash makes 1152" in error


def test_a_truncated_text_causes_a_warning(titles: Db, service: Process, command_line: CommandLine) -> None:
    outcome = command_line("search", "products", "word " * 65, "--url", service.url)
    assert outcome.code == 0
    assert "longer than the model reads" in outcome.stderr


def test_a_service_that_is_down_is_an_error_with_advice(titles: Db, command_line: CommandLine) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    error = command_line.fail("search", "products", "a hat", "--url", url)
    assert f"the service does not answer at {url}: Connection refused" in error
    assert "sidecar serve" in error


def test_the_default_url_has_the_port_of_the_settings(
    titles: Db, service: Process, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIND_PORT", service.url.rpartition(":")[2])
    assert "a hat" in command_line.succeed("search", "products", "a hat")


def test_a_malformed_url_is_refused(titles: Db, command_line: CommandLine) -> None:
    assert "--url or SIDECAR_URL, localhost:9000" in command_line.fail(
        "search", "products", "a hat", "--url", "localhost:9000", code=2
    )


def test_an_empty_text_is_refused(titles: Db, service: Process, command_line: CommandLine) -> None:
    assert "nothing to embed" in command_line.fail("search", "products", "", "--url", service.url)


def test_a_missing_picture_file_is_an_error_with_advice(
    titles: Db, service: Process, command_line: CommandLine, tmp_path: Path
) -> None:
    path = str(tmp_path / "shoe.jpg")
    error = command_line.fail("search", "products", path, "--url", service.url)
    assert f"{path}: No such file or directory" in error
    assert "--text" in error
    assert command_line("search", "products", path, "--text", "--url", service.url).code == 0


def test_a_file_that_is_not_a_picture_is_an_error(
    titles: Db, service: Process, command_line: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, bread")
    error = command_line.fail("search", "products", str(path), "--url", service.url)
    assert f"ERROR: {path}: The 11 bytes are not a picture" in error
