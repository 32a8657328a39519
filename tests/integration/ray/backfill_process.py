"""`sidecar backfill docs --ray` with the tests' device, in a process of its own: its argument is the address."""

from __future__ import annotations

import sys

import typer

from sidecar.cli.backfill import BackfillRun
from sidecar.config import load_settings
from sidecar.ray.backfill import RayWorkers
from sidecar.ray.cluster import connected
from sidecar.ray.options import RayOptions
from tests.integration.ray.devices import load_timed


def main() -> int:
    run = BackfillRun(None, "docs", None, as_json=False)
    options = RayOptions(gpus_per_replica=1, cpus_per_replica=1)
    with connected(sys.argv[1], shows_logs=False):
        try:
            run.until_done(RayWorkers(load_settings(), options, None, load_timed))
        except typer.Exit as ended:
            return ended.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
