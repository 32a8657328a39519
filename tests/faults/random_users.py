"""Random users, and an encoder that is slow and fails at random."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import IsolationLevel

from sidecar.errors import DeviceError
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS
from tests.integration.ingest.watched_table import Connection, run, user, value

# Few keys and few titles, so that rows often take over each other's keys and contents.
KEYS = range(6)
TITLES = [None, "", " ", "red", "green", "blue", "red", "green", "blue"]
# Errors that users may cause each other. Any other is a bug of ours.
CONFLICTS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,
    psycopg.errors.LockNotAvailable,
)


class MoodyEncoder(HashEncoder):
    """Sometimes fast, sometimes slow, and its device fails sometimes."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(dimensions=DIMENSIONS)
        self._rng = rng

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        time.sleep(self._rng.choice([0, 0, 0.005, 0.02, 0.05]))
        if self._rng.random() < 0.01:
            raise DeviceError("a bad day")
        return super()._encode(contents)


@dataclass(slots=True)
class Crowd:
    """Several concurrent users. With `own_keys` none touches another's rows, so that no error is allowed at all."""

    database_url: str
    home: str
    rng: random.Random
    own_keys: bool
    isolation: list[IsolationLevel]
    transactions: int = 0
    wanted: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    async def act(self, users: int, until: float, at_least: int) -> None:
        """Acts until time.monotonic() is `until` and so many transactions were tried, since machines may be slow."""
        self.wanted = self.transactions + at_least
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(self._act_alone(number, users, until), name=f"user-{number}")

    async def _act_alone(self, number: int, users: int, until: float) -> None:
        keys = [k for k in KEYS if not self.own_keys or k % users == number]
        async with user(self.database_url, autocommit=False) as session:
            await session.set_isolation_level(self.rng.choice(self.isolation))
            person = User(session, self.home, self.rng, keys, touches_all=not self.own_keys)
            while time.monotonic() < until or self.transactions < self.wanted:
                self.transactions += 1
                try:
                    await person.do_one_transaction()
                except CONFLICTS as error:
                    if self.own_keys:
                        raise
                    self.errors[type(error).__name__] += 1
                    await session.rollback()


class User:
    """`keys` are the rows that this user may touch; with `touches_all` also whole tables, and the sidecar's columns."""

    def __init__(
        self, session: Connection, home: str, rng: random.Random, keys: list[int], *, touches_all: bool
    ) -> None:
        self._session = session
        self._home = home
        self._rng = rng
        self._keys = keys
        self._may_write_vectors = touches_all or home == "items"
        self._stash: list[tuple[str | None, str | None]] = [("red", None)]
        self._verbs: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (6, self._insert),
            (8, self._update),
            (4, self._save_whole_row),
            (3, self._delete),
            (3, self._replace),
            (3, self._change_key),
            (3, self._take_over),
            (2, self._touch),
            (2, self.enqueue),
            *([(1, self._reembed), (1, self._truncate), (1, self.put_back)] if touches_all else []),
        ]

    async def do_one_transaction(self) -> None:
        weights, verbs = zip(*self._verbs, strict=True)
        for verb in self._rng.choices(verbs, weights, k=self._rng.randint(1, 4)):
            await verb()
            await asyncio.sleep(self._rng.choice([0, 0, 0, 0.005, 0.03]))
        await (self._session.commit() if self._rng.random() < 0.8 else self._session.rollback())

    @property
    def _key(self) -> int:
        return self._rng.choice(self._keys)

    @property
    def _title(self) -> str | None:
        return self._rng.choice(TITLES)

    async def _insert(self) -> None:
        query = "insert into items values (%s, %s, 0) on conflict (id) do update set title = excluded.title"
        await run(self._session, query, self._key, self._title)

    async def _update(self) -> None:
        await run(self._session, "update items set title = %s where id = %s", self._title, self._key)

    async def _save_whole_row(self) -> None:
        """Writes the whole row, as an ORM that loaded it some time ago."""
        key = self._key
        old = await run(
            self._session,
            f"select i.title, h.embedding::text from items i left join {self._home} h using (id) where i.id = %s",
            key,
        )
        self._stash = [*self._stash[-9:], *old]
        title, vector = self._rng.choice(self._stash)
        await run(self._session, "update items set title = %s, n = n + 1 where id = %s", title, key)
        if self._may_write_vectors and (vector is not None or self._home == "items"):
            await run(self._session, f"update {self._home} set embedding = %s::text::vector where id = %s", vector, key)

    async def _delete(self) -> None:
        await run(self._session, "delete from items where id = %s", self._key)

    async def _replace(self) -> None:
        """Deletes the row and inserts it again without its vector, perhaps with the same content."""
        for key, old in await run(self._session, "delete from items where id = %s returning id, title", self._key):
            title = self._rng.choice([old, self._title])
            await run(self._session, "insert into items values (%s, %s, 0) on conflict do nothing", key, title)

    async def _change_key(self) -> None:
        query = "update items set id = %s where id = %s and not exists (select from items where id = %s)"
        new = self._key
        await run(self._session, query, new, self._key, new)

    async def _take_over(self) -> None:
        """Gives a row the key and content of another one, while it keeps its own vector."""
        gone, successor = self._key, self._key
        for (title,) in await run(self._session, "delete from items where id = %s returning title", gone):
            await run(self._session, "update items set id = %s, title = %s where id = %s", gone, title, successor)

    async def _touch(self) -> None:
        await run(self._session, "update items set n = n + 1 where id = %s", self._key)

    async def enqueue(self) -> None:
        """Enqueues an event whose generation is drawn without a lock on the row, as backfill, sweep and retry do."""
        query = "insert into sidecar_internal.events_1 (k1, backfill, force) values (%s, %s, %s)"
        await run(self._session, query, self._key, self._rng.random() < 0.5, self._rng.random() < 0.5)

    async def _reembed(self) -> None:
        await value(self._session, "select sidecar.reembed('items')")

    async def _truncate(self) -> None:
        await run(self._session, "truncate items")

    async def put_back(self, changed: str | None = None) -> None:
        """Truncates the table and inserts all rows but one again, without vectors, as a job that refills it."""
        rows = await run(self._session, "select id, title from items")
        one = self._rng.choice(rows)[0] if rows and changed is not None else None
        await run(self._session, "truncate items")
        for key, title in rows:
            new = changed if key == one else title
            await run(self._session, "insert into items values (%s, %s, 0)", key, new)
