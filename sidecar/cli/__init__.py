"""The command line: `sidecar …`.

Nothing heavy is imported until a command needs it: `sidecar --help` answers at once.
"""

from typing import NoReturn

_EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Runs the command line of the process, and exits. Ctrl-C prints no traceback, not even during the imports."""
    try:
        from sidecar.cli.program import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(_EXIT_INTERRUPTED) from None
