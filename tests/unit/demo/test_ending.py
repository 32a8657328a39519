"""Ctrl-C before the demo's service handles signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from sidecar.demo.run import Ending


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Puts back the handlers that an Ending replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Dying:
    """An object at whose end a signal comes: Python prints the handler's exception and goes on."""

    def __init__(self, handler: Ending) -> None:
        self._handler = handler

    def __del__(self) -> None:
        frame: FrameType | None = None
        self._handler(signal.SIGINT, frame)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_while_an_object_is_freed_ends_the_demo_after_the_step() -> None:
    ending = Ending()
    ending.check()
    Dying(ending)
    with pytest.raises(SystemExit):
        ending.check()


def test_a_signal_at_any_other_time_ends_it_at_once() -> None:
    with pytest.raises(SystemExit):
        Ending()(signal.SIGINT, None)
