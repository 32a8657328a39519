"""The states of the process and what is answered in each."""

from __future__ import annotations

import pytest

from sidecar.readiness import NotReady, Readiness, State


class Device:
    def __init__(self) -> None:
        self.trouble: str | None = None


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def readiness(device: Device) -> Readiness:
    return Readiness(lambda: device.trouble)


def in_state(readiness: Readiness, state: State) -> Readiness:
    match state:
        case State.READY:
            readiness.mark_ready()
        case State.UNFIT:
            readiness.mark_unfit("The model failed its self-test.")
        case State.STOPPING:
            readiness.stop()
        case State.FAILED:
            readiness.fail("task ingest died")
    return readiness


@pytest.mark.parametrize(
    ("state", "message", "retry_after_s"),
    [
        (State.LOADING, "The model is loading. Try again in a moment.", 5.0),
        (State.UNFIT, "The model failed its self-test.", None),
        (State.STOPPING, "The process is shutting down.", None),
        (State.FAILED, "The process is ending: task ingest died", None),
    ],
)
def test_check_raises_the_reason_in_every_state_but_ready(
    readiness: Readiness, state: State, message: str, retry_after_s: float | None
) -> None:
    assert in_state(readiness, state).state is state
    with pytest.raises(NotReady) as raised:
        readiness.check()
    assert (raised.value.code, raised.value.message) == (state.value, message)
    assert raised.value.retry_after_s == retry_after_s


def test_check_passes_once_ready(readiness: Readiness) -> None:
    readiness.mark_ready()
    readiness.check()
    assert readiness.error() is None
    assert readiness.state is State.READY


@pytest.mark.parametrize("before", [State.LOADING, State.READY])
def test_trouble_of_the_device_passes_back_to_the_state_before(
    readiness: Readiness, device: Device, before: State
) -> None:
    in_state(readiness, before)
    device.trouble = "The device hangs"
    assert readiness.state is State.TROUBLE
    with pytest.raises(NotReady) as raised:
        readiness.check()
    assert (raised.value.code, raised.value.message, raised.value.retry_after_s) == (
        *("device_failed", "The device hangs."),
        1.0,
    )
    device.trouble = None
    assert readiness.state is before


@pytest.mark.parametrize("state", [State.UNFIT, State.STOPPING, State.FAILED])
def test_trouble_of_the_device_hides_no_graver_state_but_is_still_checked(
    readiness: Readiness, device: Device, state: State
) -> None:
    in_state(readiness, state)
    readiness.check_device()
    device.trouble = "The device hangs"
    assert readiness.state is state
    with pytest.raises(NotReady, match="The device hangs"):
        readiness.check_device()


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ((State.STOPPING, State.READY), State.STOPPING),
        ((State.STOPPING, State.UNFIT), State.STOPPING),
        ((State.UNFIT, State.READY), State.UNFIT),
        ((State.READY, State.UNFIT), State.READY),
        ((State.FAILED, State.STOPPING), State.FAILED),
        ((State.STOPPING, State.FAILED), State.FAILED),
        ((State.UNFIT, State.STOPPING), State.STOPPING),
        ((State.READY, State.STOPPING, State.FAILED), State.FAILED),
    ],
)
def test_only_the_transitions_there_are_take_place(readiness: Readiness, path: tuple[State, ...], end: State) -> None:
    for state in path:
        in_state(readiness, state)
    assert readiness.state is end


def test_the_first_reason_of_a_failure_stays(readiness: Readiness) -> None:
    readiness.fail("task ingest died")
    readiness.fail("task batcher died")
    with pytest.raises(NotReady, match="ingest"):
        readiness.check()
