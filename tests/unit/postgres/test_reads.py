"""Where searches and status read, given where two servers are in the write-ahead log."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from sidecar.errors import DatabaseUnavailable
from sidecar.postgres.address import read_address
from sidecar.postgres.database import Database
from sidecar.postgres.reads import Position, Progress, Reads, standby_url

GONE = DatabaseUnavailable("connection refused")


def primary(lsn: int, server: str = "a") -> Position:
    return Position("7/shop", server, is_standby=False, lsn=lsn, age_s=0.0)


def standby(lsn: int, age_s: float = 0.0, database: str = "7/shop") -> Position:
    return Position(database, "b", is_standby=True, lsn=lsn, age_s=age_s)


@pytest.fixture
def reads() -> Reads:
    databases = [Database(SecretStr(f"postgresql://{host}/shop")) for host in ("one", "other")]
    return Reads(databases[0], databases[1], max_lag_s=30)


def test_before_the_first_look_the_primary_is_read(reads: Reads) -> None:
    assert (str(reads), reads.uses_standby, reads.lag_s) == ("not tried yet", False, None)
    assert str(Reads(Database(SecretStr("postgresql://one/shop")))) == "none"


def where(reads: Reads) -> tuple[bool, float | None]:
    """Whether the standby is read, and its lag."""
    return reads.uses_standby, reads.lag_s


def test_a_standby_is_read_until_its_lag_is_above_the_limit_and_again_below_it(reads: Reads) -> None:
    reads.compare(primary(100), standby(100), 0.0)
    assert (str(reads), reads.uses_standby) == ("ok: 0.0 s behind", True)
    reads.compare(primary(200), standby(100), 10.0)
    reads.compare(primary(300), standby(100), 25.0)
    assert where(reads) == (True, 25.0)
    reads.compare(primary(300), standby(100), 31.0)
    assert where(reads) == (False, 31.0)
    assert str(reads) == "31.0 s behind, more than SEARCH_MAX_LAG_S (30): the primary is read"
    reads.compare(primary(300), standby(200), 32.0)
    assert where(reads) == (True, 22.0)
    reads.compare(primary(300), standby(300), 33.0)
    assert reads.lag_s == 0.0


def test_an_idle_primary_leaves_no_lag() -> None:
    progress = Progress()
    for at in range(100):
        progress.record(primary(100), float(at))
    assert progress.lag_s(standby(100, age_s=5000), 100.0) == 0.0


def test_a_standby_behind_all_that_was_seen_is_as_old_as_its_last_transaction() -> None:
    progress = Progress()
    progress.record(primary(500), 10.0)
    assert progress.lag_s(standby(100, age_s=400), 11.0) == 400
    assert progress.lag_s(standby(100, age_s=0), 500.0) == 490


def test_another_primary_begins_a_log_of_its_own() -> None:
    progress = Progress()
    progress.record(primary(9000), 0.0)
    progress.record(primary(100, server="new"), 50.0)
    assert progress.lag_s(standby(100), 51.0) == 0.0


def test_a_standby_that_is_gone_leaves_the_reads_to_the_primary(reads: Reads, caplog: pytest.LogCaptureFixture) -> None:
    reads.compare(primary(1), standby(1), 0.0)
    with caplog.at_level(logging.INFO, "sidecar.postgres.reads"):
        for at in (1.0, 2.0):
            reads.compare(primary(1), GONE, at)
        assert (str(reads), reads.uses_standby) == ("gone, trying again: the primary is read", False)
        reads.compare(primary(1), standby(1), 3.0)
    assert where(reads) == (True, 0.0)
    begin, end = [record.getMessage() for record in caplog.records]
    assert begin == "searches and status read the primary, not SEARCH_DATABASE_URL: connection refused"
    assert end.startswith("searches and status read the primary, not SEARCH_DATABASE_URL: no longer, after ")


def test_while_the_primary_is_gone_a_standby_is_read_however_far_behind_it_was(reads: Reads) -> None:
    reads.compare(primary(100), standby(100), 0.0)
    reads.compare(primary(200), standby(100), 40.0)
    assert where(reads) == (False, 40.0)
    reads.compare(GONE, standby(150), 41.0)
    assert where(reads)[0]
    assert str(reads) == "ok: DATABASE_URL does not answer, the standby does"


def test_a_promoted_standby_is_read_only_if_it_is_the_primary(reads: Reads) -> None:
    promoted = Position("7/shop", "b", is_standby=False, lsn=100, age_s=0.0)
    reads.compare(primary(100), promoted, 0.0)
    assert (str(reads), reads.uses_standby) == (
        "promoted: no standby of DATABASE_URL's server any more: the primary is read",
        False,
    )
    reads.compare(GONE, promoted, 1.0)
    assert str(reads) == "ok: DATABASE_URL does not answer, the server that was promoted does"
    reads.compare(promoted, promoted, 2.0)
    assert (str(reads), reads.lag_s) == ("ok: leads to the same server as DATABASE_URL", 0.0)


@pytest.mark.parametrize(
    ("url", "attrs"),
    [
        ("postgresql://one/shop", None),
        ("postgresql://one,two/shop", "standby"),
        ("postgresql://one,two/shop?target_session_attrs=prefer-standby", "standby"),
        ("postgresql://one,two/shop?target_session_attrs=read-only", "read-only"),
        ("postgresql://one/shop?target_session_attrs=standby", "standby"),
    ],
)
def test_of_several_hosts_a_standby_is_meant(url: str, attrs: str | None) -> None:
    address = read_address(standby_url(SecretStr(url)).get_secret_value())
    assert address.options.get("target_session_attrs") in ({None, "any"} if attrs is None else {attrs})
    assert [host.name for host in address.hosts] == url.partition("//")[2].partition("/")[0].split(",")


@pytest.mark.parametrize("database", ["8/shop", "7/postgres"])
def test_a_standby_of_another_cluster_or_another_database_is_never_read(reads: Reads, database: str) -> None:
    reads.compare(primary(100), standby(200, database=database), 0.0)
    assert where(reads) == (False, None)
    assert str(reads).startswith("foreign: ")
    reads.compare(GONE, standby(200, database=database), 1.0)
    assert where(reads) == (False, None)
    reads.compare(primary(300), standby(300), 2.0)
    assert where(reads) == (True, 0.0)
