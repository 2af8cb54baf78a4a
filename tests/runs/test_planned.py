"""What a plan said of a run, found without the room that measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldmodel.runs.planned import FILE, Told, told_of

TOLD = {
    "num_steps": 100, "raw_s": 90.0, "total_s": 110.0, "low_s": 80.0, "high_s": 500.0, "epoch_s": 50.0,
    "step_s": 1.0, "start_s": 10.0,
}  # fmt: skip


def line(at: str, name: str = "night", total_s: float = 110.0, **more: object) -> str:
    return json.dumps({"kind": "plan", "at": at, "name": name, "told": TOLD | {"total_s": total_s}} | more) + "\n"


def test_the_newest_before_the_run_began(tmp_path: Path) -> None:
    day = "2026-02-{}T00:00:00.900+00:00"
    (tmp_path / FILE).write_text(
        line(day.format("03"), total_s=3) + line(day.format("01"), total_s=1) + line(day.format("02"), total_s=2)
        + line(day.format("02"), name="other", total_s=9) + '{"kind":"outcome"}\n' + "damaged\n"
        + line(day.format("02"), told={"total_s": 7}) + line(day.format("01"), total_s=8)[:-20]
    )  # fmt: skip
    for began, total_s in (("2026-02-02T00:00:00+00:00", 2), ("2026-02-01T12:00:00+00:00", 1)):
        found = told_of(tmp_path, "night", began)
        assert found is not None
        assert found.total_s == total_s
    assert told_of(tmp_path, "night", "2026-01-01T00:00:00+00:00") is None
    assert told_of(tmp_path, "nobody", "2026-02-02T00:00:00+00:00") is None


@pytest.mark.parametrize("began", ["", "no time"])
def test_nothing_to_find(tmp_path: Path, began: str) -> None:
    assert told_of(None, "night", "2026-02-02T00:00:00+00:00") is None
    assert told_of(tmp_path, "night", "2026-02-02T00:00:00+00:00") is None
    (tmp_path / FILE).write_text(line("2026-02-01T00:00:00+00:00"))
    assert told_of(tmp_path, "night", began) is None


def test_a_part_of_the_whole() -> None:
    told = Told.model_validate(TOLD)
    assert (told.part_s(0), told.part_s(50), told.part_s(100)) == (10.0, 60.0, 110.0)
