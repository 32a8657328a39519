"""What queueing theory expects of a device that takes the same time for each row."""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = 60  # of a bisection


def sojourn_percentile(part: float, service: float, utilisation: float) -> float:
    """The time below which a `part` of the rows wait and are served, in the unit of `service`.

    M/D/1: Poisson arrivals at rate a = `utilisation` / `service`, one server, first come first served. The wait W is
    distributed as A. K. Erlang found in 1909 (The Theory of Probabilities and Telephone Conversations), with service
    time d and utilisation r = a d; a test compares it with a simulated queue:

        P(W <= x) = (1 - r) * sum over k from 0 to floor(x / d) of exp(a (x - k d)) * (-a (x - k d))^k / k!
    """
    low, high = 0.0, 50 * service
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if wait_distribution(middle / service, utilisation) < part:
            low = middle
        else:
            high = middle
    return service + high


def wait_distribution(services: float, utilisation: float) -> float:
    """The probability of waiting no longer than that many service times; alternating terms, exact up to about 20."""
    if services > 20:
        return 1.0
    terms = (
        math.exp(utilisation * (services - k)) * (-utilisation * (services - k)) ** k / math.factorial(k)
        for k in range(math.floor(services) + 1)
    )
    return (1 - utilisation) * math.fsum(terms)


def batched_sojourns(arrivals: Sequence[float], service: float, max_batch: int) -> list[float]:
    """The times of rows that the device takes in batches, of all that wait: each row is done when its batch is.

    What a perfect sidecar would reach with the arrivals of a run; `arrivals` ascend.
    """
    now, first = 0.0, 0
    sojourns: list[float] = []
    while first < len(arrivals):
        now = max(now, arrivals[first])
        last = first
        while last < len(arrivals) and arrivals[last] <= now and last - first < max_batch:
            last += 1
        now += (last - first) * service
        sojourns += [now - arrival for arrival in arrivals[first:last]]
        first = last
    return sojourns
