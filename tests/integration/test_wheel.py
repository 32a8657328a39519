import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The built wheel; built without isolation, so that nothing is downloaded."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(directory), str(ROOT)], check=True)
    (built,) = directory.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        yield wheel


def test_migrations_and_their_sql_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    for installed, checkout in (("sidecar/_migrations", "migrations"), ("sidecar/_sql", "sql")):
        sources = [path for path in (ROOT / checkout).rglob("*") if path.suffix in {".py", ".mako", ".sql"}]
        assert sources
        assert {f"{installed}/{path.relative_to(ROOT / checkout)}" for path in sources} <= packed


def test_sql_is_in_the_wheel_but_not_the_tests_dump(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    assert {"sidecar/_sql/tables/0016_tables.sql", "sidecar/_sql/tables/leftovers.sql"} <= packed
    assert {"sidecar/_sql/code/watch.sql", "sidecar/_migrations/versions/0016_tables.py"} <= packed
    assert not any(Path(name).name == "schema.sql" for name in packed)


def test_py_typed_and_statements_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    statements = {str(path.relative_to(ROOT)) for path in (ROOT / "sidecar").rglob("*.sql")}
    assert {"sidecar/py.typed", "sidecar/postgres/events.sql", *statements} <= set(wheel.namelist())


def test_the_page_of_the_endpoints_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    page = {f"sidecar/http/docs/page/page.{part}" for part in ("html", "js", "css")}
    assert page <= set(wheel.namelist())


def test_only_the_package_goes_to_site_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sidecar"}
    assert not any("__pycache__" in name for name in wheel.namelist())


def test_the_console_script_is_named_sidecar(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "sidecar = sidecar.cli:main" in wheel.read(entry_points).decode()


def test_an_installed_package_migrates_a_database(
    wheel: zipfile.ZipFile, tmp_path: Path, plain_database_url: str
) -> None:
    wheel.extractall(tmp_path)
    program = """
import sys
sys.path.insert(0, ".")
from sidecar.operations import migrations
assert migrations.__file__.startswith(sys.argv[1]), migrations.__file__
migrations.migrate(sys.argv[2])
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path), plain_database_url], cwd=tmp_path, check=True)
    with psycopg.connect(plain_database_url) as connection:
        assert connection.execute("select count(*) from sidecar_internal.watches").fetchone() == (0,)
