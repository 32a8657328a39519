"""The command line: `sidecar …`.

Nothing heavy is imported until a command needs it: `sidecar --help` answers at once.
"""

from sidecar.cli.program import main

__all__ = ["main"]
