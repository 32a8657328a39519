"""Where histograms divide: each default of an objective is a border, so that its share is counted exactly."""

from __future__ import annotations

# 1 ms to 60 s: requests and their stages.
DURATION_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
# 10 ms to a day: a row that a user waits for, and one that waits for the end of a backlog.
LAG_BUCKETS_S = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0,
)  # fmt: skip
VIEW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
