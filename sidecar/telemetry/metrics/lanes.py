"""What waits for the device, and what was not let in."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from sidecar.telemetry.known_counter import LANES, KnownCounter


class LaneMetrics:
    """The unit of the lane `rerank` is the pair, that of the others the view."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, documentation: str) -> Gauge:
            return Gauge(name, documentation, ["lane"], registry=registry)

        self._waiting = gauge("sidecar_lane_waiting_views", "Views or pairs that wait for the device.")
        self._reserved = gauge("sidecar_lane_reserved_views", "Room kept for what is being decoded or tokenised.")
        self._running = gauge("sidecar_lane_running_views", "Views or pairs in the micro-batch on the device.")
        self._capacity = gauge("sidecar_lane_capacity_views", "Views or pairs that may wait.")
        self.refused = KnownCounter(
            "sidecar_refused_requests_total",
            "Requests refused because a lane was full, or the room for bodies (lane uploads).",
            *("lane", (*LANES, "uploads"), registry),
        )
        self.dropped = KnownCounter(
            "sidecar_dropped_jobs_total",
            "Jobs whose caller went or whose deadline passed before the device had all of them.",
            *("lane", LANES, registry),
        )

    def show(self, lane: str, *, waiting: int, reserved: int, running: int, capacity: int) -> None:
        """What is in a lane now."""
        self._waiting.labels(lane).set(waiting)
        self._reserved.labels(lane).set(reserved)
        self._running.labels(lane).set(running)
        self._capacity.labels(lane).set(capacity)
