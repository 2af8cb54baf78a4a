"""Time left, and how sure of it one is."""

from __future__ import annotations

import pytest

from worldmodel.training.eta import NUM_INTERVALS, Eta, duration


def test_a_steady_pace() -> None:
    eta = Eta()
    assert set(eta.left(10, 0).values()) == {None}
    eta.add(1, 60.0)  # compiles
    assert set(eta.left(10, 0).values()) == {None}
    eta.add(100, 0.5)
    assert eta.left(10, 0) == {"eta_s": 5.0, "eta_low_s": None, "eta_high_s": None}
    for _ in range(2):
        eta.add(100, 0.5)
    assert eta.left(10, 0) == {"eta_s": 5.0, "eta_low_s": 5.0, "eta_high_s": 5.0}


def test_validations_count() -> None:
    eta = Eta(validation_s=30.0)
    for _ in range(2):
        eta.add(1, 1.0)
    assert eta.left(10, 2)["eta_s"] == pytest.approx(70)


def test_a_varying_pace_has_an_interval() -> None:
    eta = Eta()
    for step_s in (9.0, *(1.0 + index / 10 for index in range(11))):
        eta.add(10, step_s)
    left = eta.left(100, 0)
    assert left["eta_s"] == pytest.approx(150)
    assert (left["eta_low_s"], left["eta_high_s"]) == pytest.approx((110, 190))


def test_one_long_slow_interval_stays_within() -> None:
    eta = Eta()
    eta.add(1, 1.0)
    for _ in range(20):
        eta.add(1, 1.0)
    eta.add(10_000, 3.0)
    left = eta.left(1, 0)
    assert left["eta_low_s"] <= left["eta_s"] <= left["eta_high_s"]


def test_only_the_recent_counts() -> None:
    eta = Eta()
    for step_s in [5.0] * 10 + [1.0] * NUM_INTERVALS:
        eta.add(1, step_s)
    assert eta.left(1, 0)["eta_high_s"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3900, "1 h 05 min"), (183_600, "2 d 03 h")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
