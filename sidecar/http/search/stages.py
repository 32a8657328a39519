"""How long each stage of one search took, for its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

SearchStage: TypeAlias = Literal["text", "picture", "database", "rerank", "diversity"]


class StageClock:
    """Adds up the milliseconds of each stage; a stage may have several parts."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent_ms: dict[SearchStage, float] = {}

    @contextmanager
    def timed(self, stage: SearchStage) -> Iterator[None]:
        """Counts the block, also one that fails, as part of the stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent_ms[stage] = self._spent_ms.get(stage, 0.0) + (time.perf_counter() - began) * 1000

    def took_ms(self) -> float:
        """Since the clock was made."""
        return (time.perf_counter() - self._began) * 1000

    def spent_ms(self) -> Mapping[str, float | None]:
        """By stage, all of them; None: not a part of this search."""
        return {
            stage: None if (spent_ms := self._spent_ms.get(stage)) is None else round(spent_ms, 3)
            for stage in get_args(SearchStage)
        }
