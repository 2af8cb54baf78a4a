"""What can happen in a night: one function each, which hurts a run and says what must then be true.

A scenario returns what its card says; anything that is not as it must be is an AssertionError.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from night_grounds import (
    EVERY_MIN,
    LONG,
    Grounds,
    NotHere,
    clock_that_jumps,
    events_of,
    fill,
    no_room_by_decree,
    same_record,
    small_disk,
    told,
    wait_for,
)

from worldmodel.launch import board
from worldmodel.launch.base import read_care
from worldmodel.launch.outcome import Outcome
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity

Scenario = Callable[[Grounds, "RunFolder | None"], Outcome]
SCENARIOS: dict[str, tuple[Scenario, str]] = {}
"""By name: the function, and what the card's first line must match."""


def _scenario(name: str, must_say: str) -> Callable[[Scenario], Scenario]:
    def enter(function: Scenario) -> Scenario:
        SCENARIOS[name] = (function, must_say)
        return function

    return enter


@dataclass(frozen=True)
class Row:
    """How a scenario went. state: "as it must be", "WRONG: ..." or "not done: ..."."""

    scenario: str
    state: str
    card_says: str
    lives: int = 0
    lost_steps: int = 0
    lost_s: float = 0.0
    interval_s: float = 60 * EVERY_MIN
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def play(name: str, grounds: Grounds, reference: RunFolder | None) -> Row:
    """One scenario. reference: the run that was left alone, to be compared with."""
    scenario, must_say = SCENARIOS[name]
    began = time.monotonic()
    says, lives, state = "", 0, "as it must be"
    try:
        outcome = scenario(grounds, reference)
        says, lives = told(outcome), len(outcome.lives)
        assert re.match(must_say, says), f"the card says {says!r}, not {must_say!r}"
        for lost in grounds.lost:
            _within_interval(lost.seconds, lost.step_s)
    except NotHere as error:
        state = f"not done: {error}"
    except AssertionError as error:
        state = f"WRONG: {' '.join(str(error).split())[:400]}"
    finally:
        grounds.end_all()
    return Row(
        name,
        state,
        says,
        lives,
        max((lost.steps for lost in grounds.lost), default=0),
        round(max((lost.seconds for lost in grounds.lost), default=0.0), 2),
        seconds=round(time.monotonic() - began, 1),
    )


def _within_interval(lost_s: float, step_s: float) -> None:
    """The interval, a checkpoint that was being written at that moment and the one that waits for it, a few steps."""
    limit_s = 2 * 60 * EVERY_MIN + 4 * step_s + 1.0
    assert lost_s <= limit_s, f"{lost_s:.2f} s of work were lost, of {limit_s:.2f} s at the most"


# ---- scenarios ---------------------------------------------------------------------------------------------------


@_scenario("left alone", r"Done: every step$")
def left_alone(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    grounds.card("night")
    return grounds.wait_over(grounds.launch("night"))


@_scenario("kill -9 of the worker", r"Done: every step$")
def kill_worker(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """It is begun again, and ends as one that was left alone, to the last bit."""
    grounds.card("night")
    run = grounds.launch("night")
    grounds.wait_step(run, 25)
    supervisor, worker = read_care(run)["supervisor"]["pid"], grounds.worker(run)
    os.kill(supervisor, signal.SIGSTOP)  # so that the loss can be looked at before it is begun again
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: identity(worker) is None, "the worker is gone")
    grounds.note_loss(run)
    os.kill(supervisor, signal.SIGCONT)
    outcome = grounds.wait_over(run)
    assert [life.reason for life in outcome.lives] == ["killed by SIGKILL", "finished"]
    assert any("it took 2 lives" in line for line in outcome.deviations)
    assert reference is None or same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("kill -9 of launcher and supervisor, then of the worker", r"Vanished: process \d+ is gone without a word$")
def kill_everybody(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """Who looks next writes the end; resumed by hand it goes on as if nothing had been."""
    grounds.card("night")
    launcher = grounds.verb("card", "launch", "night", "--cards", grounds.cards, "--runs", grounds.runs)
    run = RunFolder(grounds.runs / "night")
    wait_for(lambda: read_care(run).get("worker"), "there is a worker")
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.communicate()
    grounds.wait_step(run, 25)
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGKILL)
    before = grounds.step(run)
    grounds.wait_step(run, before + 3)
    worker = grounds.worker(run)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: identity(worker) is None, "the worker is gone")
    grounds.note_loss(run)
    outcome = grounds.wait_over(run)
    if reference is not None:
        grounds.resume(run)
        again = grounds.wait_over(run)
        assert told(again).startswith("Done"), "resumed, it did not finish"
        assert same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("the disk is full", r"Crashed, the disk was full: .*No space left on device")
def full_disk(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """On a small disk of its own. With room again it goes on."""
    with small_disk(grounds.runs, 24):
        grounds.card("night", epochs=LONG)
        run = grounds.launch("night")
        grounds.wait_step(run, 25)
        filler = fill(grounds.runs)
        outcome = grounds.wait_over(run)
        grounds.note_loss(run)
        filler.unlink()
        grounds.resume(run)
        grounds.wait_step(run, run.newest_checkpoint()[0].step + 5)
        assert grounds.verb("stop", run.path).wait(120) == 0
        assert told(grounds.wait_over(run)).startswith("Stopped by")
        return outcome


@_scenario("writing fails for a while as on a full disk", r"Done: every step$")
def no_room(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """Injected into every process of the run, the supervisor too: it waits for room, and begins it again."""
    flag = no_room_by_decree(grounds)
    grounds.card("night")
    run = grounds.launch("night")
    grounds.wait_step(run, 25)
    flag.touch()
    worker = grounds.worker(run)
    wait_for(lambda: identity(worker) is None, "the worker has ended")
    time.sleep(1.5)
    grounds.note_loss(run)
    flag.unlink()
    outcome = grounds.wait_over(run)
    assert len(outcome.lives) == 2, [life.reason for life in outcome.lives]
    assert "No space left on device" in str(outcome.lives[0].reason), outcome.lives[0].reason
    assert reference is None or same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("the tracker dies", r"Done: every step$")
def tracker(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """The run goes on, says so, and has the same record as one without a tracker."""
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise NotHere("wandb is not installed") from None
    from wandb_server import WandbServer

    with WandbServer() as server:
        grounds.environment |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40, "HOME": str(grounds.place)}
        grounds.card("night", tracker={"policy": "optional", "project": "night", "entity": "team"})
        run = grounds.launch("night")
        wait_for(lambda: server.runs, "the tracker has the run")
    outcome = grounds.wait_over(run)
    assert any("the tracker has not got all" in line for line in outcome.deviations), outcome.deviations
    assert reference is None or same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("the loss is no number; the card has a fallback", r"Stopped by the rule `non_finite`: ")
def nan(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """A learning rate like that. The fallback is launched once, and both cards say so."""
    grounds.card("plan-b", epochs=1)
    kill = [{"rule": "non_finite", "fallback": True}, {"rule": "stale", "minutes": 10}]
    grounds.card("night", "training.lr=1e30", kill=kill, fallback={"card": "plan-b"})
    grounds.verb("card", "launch", "night", "--cards", grounds.cards, "--runs", grounds.runs).communicate(timeout=300)
    run, other = RunFolder(grounds.runs / "night"), RunFolder(grounds.runs / "plan-b")
    wait_for(lambda: any(row["event"] == "fallback" for row in events_of(run)), "the fallback was tried", 200)
    assert told(grounds.wait_over(other)).startswith("Done")
    outcome = grounds.wait_over(run)
    assert "plan-b was launched instead, and is well begun" in grounds.on_card("night")
    assert "Launched as the fallback of night, which a rule had stopped." in grounds.on_card("plan-b")
    assert sum(row["event"] == "fallback" for row in events_of(run)) == 1
    return outcome


@_scenario("an epoch takes too long", r"Stopped by the rule `epoch_longer_than`: .*epoch 1 has taken")
def long_epoch(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """It saves before it leaves, so nothing at all is lost."""
    grounds.card("night", "training.batch_size=1", kill=[{"rule": "epoch_longer_than", "hours": 1.5 / 3600}])
    grounds.verb("card", "launch", "night", "--cards", grounds.cards, "--runs", grounds.runs).communicate(timeout=300)
    run = RunFolder(grounds.runs / "night")
    outcome = grounds.wait_over(run)
    assert grounds.note_loss(run).steps == 0
    return outcome


@_scenario("the clock on the wall jumps", r"Done: every step$")
def clock(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """Ahead by three days, a kill after it, a time limit of a quarter of an hour: nothing goes by that clock."""
    flag = clock_that_jumps(grounds, 3 * 86_400)
    backend = {"name": "local", "usd_per_hour": 2.0, "retries": 2, "timeout_s": 900}
    grounds.card("night", backend=backend)
    run = grounds.launch("night")
    grounds.wait_step(run, 15)
    flag.touch()
    grounds.wait_step(run, 30)
    os.kill(grounds.worker(run), signal.SIGKILL)
    outcome = grounds.wait_over(run)
    assert outcome.spent_s < 600, f"{outcome.spent_s} s"
    assert outcome.usd is not None
    assert outcome.usd < 1.0, f"${outcome.usd}"
    jumps = [line for line in outcome.deviations if "clock on the wall" in line]
    assert any("jumped ahead by 259," in line for line in jumps), outcome.deviations
    assert reference is None or same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("a step hangs", r"Done: every step$")
def hung(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """Stopped by SIGSTOP: the watcher ends it by the rule `stale`, and it is begun again."""
    # Longer than a second life takes to its first step on a machine that has other work.
    grounds.card("night", kill=[{"rule": "stale", "minutes": 0.25}])
    run = grounds.launch("night")
    grounds.wait_step(run, 25)
    os.kill(grounds.worker(run), signal.SIGSTOP)
    wait_for(lambda: board.look(run, close=False).state == "halted", "it is seen to be halted")
    outcome = grounds.wait_over(run)
    reasons = [life.reason for life in outcome.lives]
    assert reasons == ["rule: stale", "finished"], reasons
    assert reference is None or same_record(run, reference), "not the same as the run that was left alone"
    return outcome


@_scenario("somebody stops it", r"Stopped by .* with worldmodel stop \(SIGTERM\), after it had saved$")
def stopped(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    grounds.card("night", epochs=LONG)
    run = grounds.launch("night")
    grounds.wait_step(run, 25)
    assert grounds.verb("stop", run.path).wait(120) == 0
    outcome = grounds.wait_over(run)
    assert grounds.note_loss(run).steps == 0
    return outcome


@_scenario("its time is up", r"Stopped by its time limit, after it had saved$")
def deadline(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    backend = {"name": "local", "usd_per_hour": 2.0, "timeout_s": 20}
    grounds.card("night", epochs=LONG, backend=backend)
    run = grounds.launch("night")
    outcome = grounds.wait_over(run)
    assert grounds.note_loss(run).steps == 0
    return outcome


@_scenario("one of a team of two is killed", r"Done: every step$")
def team(grounds: Grounds, reference: RunFolder | None) -> Outcome:
    """Both end, the reason is the kill and not the broken connection, and both are begun again."""
    backend = {"name": "local", "usd_per_hour": 2.0, "retries": 2, "devices": 2}
    grounds.card("night", backend=backend)
    run = grounds.launch("night")
    grounds.wait_step(run, 25)
    leader = grounds.worker(run)
    members = _members(leader)
    assert len(members) == 2, f"{len(members)} processes"
    os.kill(members[1], signal.SIGKILL)
    wait_for(lambda: all(identity(pid) is None for pid in (leader, *members)), "all have ended")
    outcome = grounds.wait_over(run)
    assert [life.reason for life in outcome.lives] == ["killed by SIGKILL", "finished"]
    return outcome


def _members(leader: int) -> list[int]:
    import psutil

    return sorted(child.pid for child in psutil.Process(leader).children())
