"""The rate and the time left that `sidecar status --follow` shows."""

from sidecar.cli.follow import Rate


def test_one_sample_gives_no_rate() -> None:
    rate = Rate()
    rate.add(10.0, 500)
    assert rate.per_s is None
    assert rate.eta_s(100) is None


def test_two_samples_give_rate_and_time_left() -> None:
    rate = Rate()
    rate.add(10.0, 500)
    rate.add(12.0, 700)
    assert rate.per_s == 100
    assert rate.eta_s(1000) == 10


def test_the_rate_is_0_once_the_last_progress_has_left_the_window() -> None:
    rate = Rate()
    rate.add(0.0, 0)
    for second in range(1, 40):
        rate.add(float(second), 1000)
    assert rate.per_s == 0
    assert rate.eta_s(5) is None


def test_the_rate_is_never_negative() -> None:
    rate = Rate()
    rate.add(0.0, 100)
    rate.add(1.0, 50)
    assert rate.per_s == 0


def test_nothing_left_takes_no_time() -> None:
    assert Rate().eta_s(0) == 0
