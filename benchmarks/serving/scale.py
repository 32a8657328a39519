"""How long and how often the part `serving` measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Overload:
    """`max_views`: BATCH_MAX_VIEWS, which determines the capacity and so the rate of arrivals.

    `texts`: number of texts in a request. `queue_views`: QUERY_QUEUE_VIEWS, smaller than the default if the run is
    shorter than the queue takes to fill.
    """

    seconds: float
    max_views: int
    texts: int = 1
    queue_views: int = 512


@dataclass(frozen=True, slots=True)
class Scale:
    """`rounds` of `round_s` each for every alternative that is compared.

    `windows_ms`: values of BATCH_WINDOW_MS to compare.
    """

    rounds: int
    round_s: float
    overhead_calls: int
    mixed_s: float
    flood_s: float
    overload: Overload
    windows_ms: tuple[int, ...] = ()


DEMO = Scale(
    rounds=5, round_s=1.0, overhead_calls=50, mixed_s=2.0, flood_s=4.0, overload=Overload(8.0, max_views=16, texts=16)
)
FULL = Scale(
    rounds=5,
    round_s=1.5,
    overhead_calls=150,
    mixed_s=4.0,
    flood_s=6.0,
    overload=Overload(60.0, max_views=2),
    windows_ms=(0, 10, 20),
)
QUICK = Scale(
    rounds=1,
    round_s=0.2,
    overhead_calls=5,
    mixed_s=0.3,
    flood_s=0.3,
    overload=Overload(0.8, max_views=2, queue_views=80),
)
