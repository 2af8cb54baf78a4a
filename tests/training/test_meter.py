"""Rows of metrics depend on steps, never on when they are fetched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldmodel.training.meter import CAPACITY, Meter, NonFinite, Pace

CPU = torch.device("cpu")
GOOD = torch.tensor(False)


def add(meter: Meter, step: int) -> None:
    meter.add(torch.tensor([float(step), 1.0]), GOOD, torch.ones(3))


@given(st.integers(1, 7), st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_rows_do_not_depend_on_fetches_or_resumes(row_steps: int, fetches: set[int], resume_at: int) -> None:
    plain = Meter(("a", "b"), row_steps=row_steps, step=0, device=CPU)
    for step in range(40):
        add(plain, step)
    wanted = plain.fetch(partial=True)
    meter, rows = Meter(("a", "b"), row_steps=row_steps, step=0, device=CPU), []
    for step in range(40):
        if step in fetches:
            rows += meter.fetch()
        if step == resume_at:
            rows += meter.fetch()
            meter = Meter(("a", "b"), row_steps=row_steps, step=step, device=CPU, unlogged=meter.unlogged)
        add(meter, step)
    assert rows + meter.fetch(partial=True) == wanted
    assert [step for step, _ in wanted][-1] == 40
    assert all(row["b"] == 1.0 for _, row in wanted)


def test_capacity() -> None:
    meter = Meter(("a", "b"), row_steps=1, step=0, device=CPU)
    for step in range(CAPACITY):
        assert not meter.is_full
        add(meter, step)
    assert meter.is_full
    assert len(meter.fetch()) == CAPACITY
    add(meter, CAPACITY)
    assert meter.fetch() == [(CAPACITY + 1, {"a": float(CAPACITY), "b": 1.0})]


def test_the_first_bad_step_is_named() -> None:
    meter = Meter(("a", "b"), row_steps=4, step=10, device=CPU)
    for step in range(10, 16):
        losses = torch.tensor([1.0, float("nan") if step == 12 else 9.0, 2.0])
        meter.add(torch.ones(2), torch.tensor(step in (12, 14)), losses, first_slot=32)
    with pytest.raises(NonFinite, match="at step 12, worst in slot 33 of its batch"):
        meter.fetch()


def test_without_a_bad_loss_the_greatest_is_named() -> None:
    """A gradient may overflow where every loss is finite."""
    meter = Meter(("a", "b"), row_steps=4, step=0, device=CPU, where=lambda step, slot: f"game of {step} and {slot}")
    meter.add(torch.ones(2), torch.tensor(True), torch.tensor([1.0, 2.0, 1e30]))
    with pytest.raises(NonFinite, match="worst in game of 0 and 2"):
        meter.fetch()


def test_pace() -> None:
    pace = Pace(CPU)
    for phase in ("data", "forward", "backward", "optimiser", ""):
        pace.lap(phase)
    found = pace.read(1, 100)
    assert sum(found[f"share_{phase}"] for phase in pace.phases) == pytest.approx(1.0)
    assert found["examples_per_s"] > 0
    assert found["memory_gb"] > 0
