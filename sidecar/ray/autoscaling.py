"""How many replicas there should be: an autoscaling policy of Ray Serve.

Replicas report the rows per second that the watches' work calls for (`needed_rows_per_s`, the same from each of them),
and the rows per second that they do while there is work (`rows_per_s`). The policy divides, and compares with what the
requests in progress call for:

    replicas = max(needed_rows_per_s / rows_per_s of one replica, requests in progress / target_ongoing_requests)

Up at most to twice as many at a time; down once a replica less would do with a tenth to spare. Serve keeps the bounds,
and waits out upscale_delay_s and downscale_delay_s. Work that nothing comes of, such as rows that stay locked, counts
for nothing after a minute: it must not hold all GPUs indefinitely. While no replica can read the database, the number
stays.

Serve's controller gets this file by value and calls `choose_replicas` in its loop: it imports nothing of ours, and
waits for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NEEDED = "needed_rows_per_s"
RATE = "rows_per_s"
UNKNOWN = -1.0
_SPARE = 0.1  # of a replica
_HALF_LIFE_S = 120.0  # of the highest rate seen


def choose_replicas(context: Any) -> tuple[int, dict[str, float]]:
    """The number of replicas, and what to remember. `context` is an AutoscalingContext of Ray Serve."""
    metrics = context.raw_metrics or {}
    state = {name: context.policy_state[name] for name in ("rate", "at") if name in context.policy_state}
    now = float(context.current_time)
    rates = _latest(metrics.get(RATE, {}))
    if rates:
        rate = sum(rates) / len(rates)
        age_s = max(now - state.get("at", now), 0.0)  # the clock may have been set back
        faded = state.get("rate", 0.0) * 0.5 ** (age_s / _HALF_LIFE_S)
        state = {"rate": max(rate, faded) if rate > 0 else 0.0, "at": now}
    by_requests = context.total_num_requests / context.config.get_target_ongoing_requests()
    by_rows = _replicas_for_rows(_latest(metrics.get(NEEDED, {})), state.get("rate"), context.target_num_replicas)
    wanted = step_towards(max(by_requests, by_rows), context.target_num_replicas)
    return min(max(wanted, context.capacity_adjusted_min_replicas), context.capacity_adjusted_max_replicas), state


def step_towards(demand: float, present: int) -> int:
    """The next number of replicas for a demand in replicas, which may be a fraction."""
    most = max(2 * present, 1)
    if demand > present + _SPARE:
        return math.ceil(min(demand - _SPARE, most))
    return min(math.ceil(demand + _SPARE), present)


def _replicas_for_rows(needed: list[float], rate: float | None, present: int) -> float:
    """`rate`: of one replica; None before any has embedded a row, 0 if nothing comes of the work."""
    if not needed:
        return present
    if max(needed) == 0 or rate == 0:
        return 0.0
    return float(present) if rate is None else max(needed) / rate


def _latest(by_replica: Mapping[Any, Any]) -> list[float]:
    """The last report of each replica, where it is known."""
    values = (float(series[-1].value) for series in by_replica.values() if series)
    return [value for value in values if 0 <= value < math.inf]
