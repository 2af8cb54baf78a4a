"""What is written, when, and by whom: the decisions after each step, alone and in a team."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.errors import WorldModelError
from worldmodel.models.base import make_model
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking import jsonl
from worldmodel.training import saver as saver_module
from worldmodel.training.book import NAMES, Book, open_book
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.config import Experiment
from worldmodel.training.meter import NonFinite
from worldmodel.training.optim import Schedule, make_optimizer
from worldmodel.training.plan import Plan
from worldmodel.training.stop import Deadline, StopRequest
from worldmodel.training.team import ALONE, Team

NEVER = 1e6


@dataclass
class FakeValidation:
    """Losses given beforehand."""

    losses: list[dict[str, float]]
    seconds: float = 0.0

    def measure(self, models: dict[str, Any], **more: Any) -> dict[str, dict[str, float | None]]:
        time.sleep(self.seconds)
        found = self.losses.pop(0)
        return {name: {"val_loss/total": found[name]} for name in models}

    def baselines(self, **more: Any) -> dict[str, dict[str, float | None]]:
        return {"copy_last": {"val_loss/total": 9.0}}


@dataclass
class FakePlan:
    """What a book asks of a plan, without data."""

    experiment: Experiment
    validation: FakeValidation | None = None
    num_steps: int = 100
    steps_per_epoch: int = 50
    targets_per_step: float = 10.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def schedule(self) -> Schedule:
        return Schedule.of(self.experiment.training, self.num_steps)

    def validates_after(self, step: int) -> bool:
        return self.validation is not None and step % 50 == 0

    def where(self, step: int, slot: int) -> str:
        return "a game"


def make_plan(validation: FakeValidation | None = None, **training: Any) -> Plan:
    quiet = {"log_every_s": NEVER, "checkpoint_every_min": NEVER, "log_every_steps": 5}
    return cast(Plan, FakePlan(make_experiment(training=quiet | training), validation))


def make_state(plan: Plan, *, ema: bool = False) -> TrainState:
    torch.manual_seed(0)
    model = make_model(plan.experiment.model)
    state = TrainState(model, make_optimizer(model, plan.experiment.training))
    state.ema = make_model(plan.experiment.model) if ema else None
    return state


def step(book: Book, *, bad: bool = False) -> None:
    values = torch.full((len(NAMES),), float(book.state.step))
    book.meter.add(values, torch.tensor(bad), torch.zeros(1))
    book.state.step += 1


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, experiment="test", name="run")


def events(run: RunFolder) -> list[str]:
    return [row["event"] for row in jsonl.read(run.events).rows]


# ---- rows --------------------------------------------------------------------------------------------------------


def test_rows_of_time_are_apart_and_both_are_cut(run: RunFolder) -> None:
    plan = make_plan(log_every_s=1e-9)
    said: list[str] = []
    with open_book(run, plan, make_state(plan), said.append) as book:
        book.save("start")
        for number in range(23):
            step(book)
            book.after_step(StopRequest())
            if number == 11:
                book.save("twelve")
    assert [row["step"] for row in jsonl.read(run.metrics).rows] == [5, 10, 15, 20]
    assert {row["kind"] for row in jsonl.read(run.metrics).rows} == {"train"}
    pace = jsonl.read(run.pace).rows
    assert [row["step"] for row in pace] == list(range(1, 24))
    assert pace[-1]["eta_low_s"] <= pace[-1]["eta_s"] <= pace[-1]["eta_high_s"]
    assert " left (" in said[-1]
    state = make_state(plan)
    state.step = 12
    with open_book(run, plan, state, said.append) as book:
        assert jsonl.read(run.events).rows[-2] | {"at": ""} == {
            "event": "resumed", "at": "", "step": 12, "num_steps": 100, "steps_per_epoch": 50,
            "num_rows_dropped": 2, "lost_s": pytest.approx(sum(row["elapsed_s"] for row in pace[12:]), abs=0.1),
        }  # fmt: skip
    assert [row["step"] for row in jsonl.read(run.metrics).rows] == [5, 10]
    assert [row["step"] for row in jsonl.read(run.pace).rows] == list(range(1, 13))


def test_both_weights_are_validated(run: RunFolder) -> None:
    losses = [{"raw": 3.0, "ema": 2.0}, {"raw": 1.0, "ema": 4.0}, {"raw": 1.5, "ema": 1.2}]
    plan = make_plan(FakeValidation(losses))
    state = make_state(plan, ema=True)
    with open_book(run, plan, state, lambda text: None) as book:
        book.baselines()
        for expected in (
            {"value": 2.0, "step": 1, "weights": "ema"},
            {"value": 1.0, "step": 2, "weights": "raw"},
            {"value": 1.0, "step": 2, "weights": "raw"},
        ):
            step(book)
            book.validate()
            assert state.best == expected
        assert book.values == {"val_loss/total": 1.5}
        assert book.ema_values == {"val_loss/total": 1.2}
    rows = [row for row in jsonl.read(run.metrics).rows if row["kind"] == "val"]
    assert [(row["step"], row["weights"]) for row in rows[:3]] == [(1, "raw"), (1, "ema"), (2, "raw")]
    with open_book(run, plan, state, lambda text: None) as book:  # what was seen is known again
        assert (book.values, book.ema_values) == ({"val_loss/total": 1.5}, {"val_loss/total": 1.2})
        assert book.naive == {"copy_last": {"val_loss/total": 9.0}}


# ---- checkpoints, signals, deadline --------------------------------------------------------------------------------


def test_a_checkpoint_when_it_is_due(run: RunFolder) -> None:
    plan = make_plan(checkpoint_every_min=1e-9)
    with open_book(run, plan, make_state(plan), lambda text: None) as book:
        book.save("start")
        for _ in range(3):
            step(book)
            book.after_step(StopRequest(), may_save=False)
        assert [found.step for found in run.all_checkpoints()] == [0]
        step(book)
        book.after_step(StopRequest())
        book.end("finished")
    assert [found.step for found in run.all_checkpoints()] == [0, 4]
    told = [row for row in jsonl.read(run.events).rows if row["event"] == "checkpoint"]
    assert [(row["of_step"], row["reason"]) for row in told] == [(0, "start"), (4, "time")]
    assert events(run)[-1] == "ended"


def test_no_step_is_saved_twice(run: RunFolder) -> None:
    plan = make_plan()
    state = make_state(plan)
    with open_book(run, plan, state, lambda text: None) as book:
        for reason in ("start", "epoch", "again"):
            book.save(reason)
        book.end("finished")
    assert events(run) == ["started", "no_validation", "checkpoint", "ended"]
    with open_book(run, plan, state, lambda text: None) as book:
        book.end("finished")
    assert events(run)[4:] == ["resumed", "no_validation", "ended"]


def test_a_stop_waits_until_one_may_save(run: RunFolder) -> None:
    plan, stop = make_plan(), StopRequest()
    with open_book(run, plan, make_state(plan), lambda text: None) as book:
        assert book.after_step(stop) is None
        stop.reason = "SIGTERM"
        assert book.after_step(stop, may_save=False) is None
        assert book.after_step(stop) == "SIGTERM"


def test_the_deadline_leaves_time_to_save(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    plan = make_plan(FakeValidation([{"raw": 1.0}] * 2))
    deadline = Deadline(190)
    said: list[str] = []
    with open_book(run, plan, make_state(plan), said.append, deadline=deadline) as book:
        book.save("start")
        left_at = None
        for _ in range(50):
            now += 60 if book.state.step == 0 else 3  # the first step compiles
            step(book)
            if book.after_step(StopRequest()) == "deadline":
                left_at = 1190 - now
                break
        # Twice the slowest step (the compiling one no longer counts), and 2 seconds.
        assert left_at is not None
        assert 2 <= left_at <= 2 * 3 + 2 + 3
    assert "deadline_before_end" not in events(run)


def test_a_validation_that_comes_next_counts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    plan = make_plan(FakeValidation([{"raw": 1.0}] * 2))
    state = make_state(plan)
    state.step = 45
    with open_book(run, plan, state, lambda text: None, deadline=Deadline(100)) as book:
        book._eta.validation_s = 60.0
        reasons = []
        for _ in range(46, 50):
            now += 1
            step(book)
            reasons.append(book.after_step(StopRequest()))
    # Step 50 validates: 96 s are left, 2 (1 + 60) + 2 are wanted.
    assert reasons == [None, None, None, "deadline"]


def test_it_is_said_early_that_time_will_not_suffice(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    said: list[str] = []
    with open_book(run, plan, make_state(plan), said.append, deadline=Deadline(3)) as book:
        for _ in range(5):
            step(book)
            time.sleep(0.05)
            book.log()
    assert events(run).count("deadline_before_end") == 1
    assert any("can be resumed" in line for line in said)


def test_noises_are_events(run: RunFolder) -> None:
    def broken(text: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    plan, stop = make_plan(log_every_s=1e-9), StopRequest()
    with open_book(run, plan, make_state(plan), broken) as book:
        stop.hangups = 1
        for _ in range(10):
            step(book)
            assert book.after_step(stop) is None
        book.end("finished")
    told = {row["event"]: row for row in jsonl.read(run.events).rows}
    assert events(run).count("hangup") == 1
    assert told["output_lost"]["num_lines"] == 2


# ---- errors --------------------------------------------------------------------------------------------------------


def test_a_bad_step_is_not_saved(run: RunFolder) -> None:
    plan = make_plan()
    with pytest.raises(NonFinite), open_book(run, plan, make_state(plan), lambda text: None) as book:  # noqa: PT012
        book.save("start")
        step(book, bad=True)
        book.save("time")
    assert [found.step for found in run.all_checkpoints()] == [0]
    assert events(run)[-2:] == ["non_finite", "ended"]


def no_room(*arguments: Any, **more: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_checkpoint_that_failed_ends_the_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(checkpoint_every_min=1e-9)
    with pytest.raises(OSError, match="No space"), open_book(run, plan, make_state(plan), lambda text: None) as book:  # noqa: PT012
        book.save("start")
        monkeypatch.setattr(saver_module, "write", no_room)
        step(book)
        book.after_step(StopRequest())
        until(lambda: book._saver.look()[0])
        step(book)
        book.after_step(StopRequest())
        pytest.fail("it went on")
    assert run.newest_checkpoint()[0].step == 0
    assert jsonl.read(run.events).rows[-1]["reason"].startswith("OSError: [Errno 28]")


def test_no_room_for_the_first_checkpoint_leaves_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"), open_book(run, plan, make_state(plan), lambda text: None) as book:
        book.save("start")
    assert not run.path.exists()


# ---- a team --------------------------------------------------------------------------------------------------------


class Threads:
    """Processes of a team, played by threads."""

    def __init__(self, world: int) -> None:
        self.world = world
        self._barrier = threading.Barrier(world, timeout=10)
        self._wishes: list[Any] = [None] * world

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self._wishes[rank] = value
        self._barrier.wait()
        out = list(self._wishes)
        self._barrier.wait()
        return out

    def play(self, part: Callable[[Team], Any]) -> list[Any]:
        """Run `part` in each; its results or errors, by rank."""
        out: list[Any] = [None] * self.world

        def one(rank: int) -> None:
            try:
                out[rank] = part(cast(Team, FakeTeam(self, rank)))
            except (OSError, WorldModelError) as error:
                out[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return out


class FakeTeam:
    def __init__(self, threads: Threads, rank: int) -> None:
        self.threads, self.rank, self.world, self.is_lead = threads, rank, threads.world, rank == 0

    def agree(self, *wishes: int) -> tuple[int, ...]:
        return tuple(max(column) for column in zip(*self.threads.exchange(self.rank, wishes), strict=True))

    def sum_on_host(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.threads.exchange(self.rank, tensor.clone())).sum(0)


def test_a_team_stops_at_the_same_step_and_only_the_lead_writes(run: RunFolder) -> None:
    """The signal reaches one process only, and the clocks differ: all leave after the same step."""

    def part(team: Team) -> tuple[str | None, int, list[str]]:
        # The lead never finds a checkpoint due by its own clock, the other does at each step.
        plan = make_plan(checkpoint_every_min=NEVER if team.is_lead else 1e-9)
        stop, said = StopRequest(), list[str]()
        state = make_state(plan)
        with open_book(run, plan, state, said.append, team=team) as book:
            book.save("start")
            reason = None
            while reason is None:
                step(book)
                if state.step == 7 and not team.is_lead:
                    stop.reason = "SIGUSR1"
                reason = book.after_step(stop)
            book.end(reason)
        return reason, state.step, said

    results = Threads(2).play(part)
    assert [result[:2] for result in results] == [("SIGUSR1", 7)] * 2
    assert results[1][2] == []
    saved = [row["of_step"] for row in jsonl.read(run.events).rows if row["event"] == "checkpoint"]
    assert saved == list(range(8))
    assert events(run).count("started") == events(run).count("ended") == 1
    assert [row["step"] for row in jsonl.read(run.metrics).rows] == [5]


def test_a_team_hears_that_its_lead_cannot_write(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(team: Team) -> None:
        plan = make_plan(checkpoint_every_min=1e-9)
        with open_book(run, plan, make_state(plan), lambda text: None, team=team) as book:
            book.save("start")
            cast(FakeTeam, team).threads.exchange(team.rank, None)
            monkeypatch.setattr(saver_module, "write", no_room)
            while True:
                step(book)
                book.after_step(StopRequest())
                if team.is_lead:
                    until(lambda: book._saver._under_way is None or book._saver.look()[0])

    lead, other = Threads(2).play(part)
    assert isinstance(lead, OSError)
    assert isinstance(other, WorldModelError)
    assert run.newest_checkpoint()[0].step == 0


def test_alone_is_a_team_of_one() -> None:
    assert ALONE.is_lead
