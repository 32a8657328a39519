"""`python -m installation run|all|cpu [--index URL] [argument of pip …]`, run by .venv's Python in the checkout."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from installation.cpu_builds import choose_cpu_builds, constrain_to, read_versions

_CONSTRAINTS = Path("constraints.txt")
_CHOSEN_BUILD = (
    Path(sys.prefix) / "torch-cpu.json"
)  # as long as .venv lives: `make test` keeps the build of install-cpu
_EXTRAS = {"run": "embedded", "cpu": "embedded", "all": "embedded,dev,site"}
_INTERRUPTED = 130
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

# The wheels, and what they unpack to: measured on Linux x86-64 with Python 3.11 and the versions of constraints.txt.
_SIZES = {
    "cuda": "With PyTorch for CUDA: 3.2 GB to download, 6.3 GB on the disk.",
    "cpu": "With PyTorch for CPUs: 0.4 GB to download, 1.6 GB on the disk.",
    "tools": "What only tests and docs need: 0.6 GB on the disk.",
}
_NO_CPU_BUILD = """\
ERROR: The package index that pip uses here has no CPU build of PyTorch that belongs together: versions for this machine
that end in +cpu are of torch: {torch}; of torchvision: {torchvision}.
HINT: PyTorch's install page names an index that has them: make install-cpu INDEX=<its URL>
      Or take the build with CUDA, which works without a GPU too: make run"""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m installation")
    parser.add_argument("what", choices=_EXTRAS)
    parser.add_argument("--index")
    chosen, for_pip = parser.parse_known_args(arguments)
    if chosen.index:
        for_pip += ["--extra-index-url", chosen.index]
    try:
        if chosen.what == "cpu" and not _choose_cpu_build(for_pip):
            return 1
        _announce(chosen.what, for_pip)
        return _install(_EXTRAS[chosen.what], for_pip)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on: what pip has downloaded whole is in its cache.", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED


def _choose_cpu_build(for_pip: Sequence[str]) -> bool:
    """Remembers the builds for this and later installations. False, with an error printed, if the index has none."""
    versions = {}
    for package in ("torch", "torchvision"):
        command = [*_PIP, "index", "versions", package, *for_pip]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        versions[package] = read_versions(asked.stdout)
        if not versions[package]:
            print(f"ERROR: pip finds no {package} for this machine: {asked.stderr.strip()}", file=sys.stderr)  # noqa: T201
            return False
    builds = choose_cpu_builds(versions["torch"], versions["torchvision"], _CONSTRAINTS.read_text())
    if builds is None:
        print(_NO_CPU_BUILD.format(**{name: _cpu_versions(found) for name, found in versions.items()}), file=sys.stderr)  # noqa: T201
        return False
    _CHOSEN_BUILD.write_text(json.dumps(builds))
    print(f"The index has torch {builds['torch']} and torchvision {builds['torchvision']}.")  # noqa: T201
    return True


def _cpu_versions(versions: Sequence[str]) -> str:
    return ", ".join(version for version in versions if version.endswith("+cpu")) or "none"


def _announce(what: str, for_pip: Sequence[str]) -> None:
    if what == "all":
        print(_SIZES["tools"], flush=True)  # noqa: T201
    if not _is_installed("torch") and not any("index" in argument for argument in for_pip):
        cpu = _CHOSEN_BUILD.exists() or sys.platform != "linux"  # elsewhere there are no builds with CUDA
        print(_SIZES["cpu" if cpu else "cuda"], flush=True)  # noqa: T201
        if not cpu:
            print("Without a GPU, less is enough: Ctrl-C, then `make install-cpu`.", flush=True)  # noqa: T201


def _is_installed(package: str) -> bool:
    shown = subprocess.run([*_PIP, "show", "--quiet", package], capture_output=True, check=False)
    return shown.returncode == 0


def _install(extras: str, for_pip: Sequence[str]) -> int:
    constraints = _CONSTRAINTS
    if _CHOSEN_BUILD.exists():
        constraints = _CHOSEN_BUILD.with_name("constraints.txt")
        constraints.write_text(constrain_to(json.loads(_CHOSEN_BUILD.read_text()), _CONSTRAINTS.read_text()))
    command = [*_PIP, "install", *for_pip, "--constraint", str(constraints), "--editable", f".[{extras}]"]
    # In a process group of its own: it is interrupted once, however often Ctrl-C is pressed while it tidies up.
    pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return pip.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        pip.send_signal(signal.SIGINT)
        pip.wait()
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
