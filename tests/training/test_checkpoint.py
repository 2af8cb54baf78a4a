"""What is saved is what was there when it was asked for, it comes back whole, and no failure to save is lost."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_experiment import make_experiment

from worldmodel.errors import WrongUse
from worldmodel.models.base import load_model, make_model
from worldmodel.runs import atomic, strict
from worldmodel.runs.folder import RunFolder
from worldmodel.training import checkpoint as checkpoints
from worldmodel.training import saver as saver_module
from worldmodel.training.checkpoint import TrainState, record_experiment, restore, same_experiment
from worldmodel.training.config import Experiment
from worldmodel.training.optim import make_optimizer
from worldmodel.training.saver import Saver

PER_EPOCH = 100


def make_state(experiment: Experiment, *, ema: bool = True, seed: int = 0) -> TrainState:
    torch.manual_seed(seed)
    model = make_model(experiment.model)
    state = TrainState(model, make_optimizer(model, experiment.training))
    state.ema = copy.deepcopy(model) if ema else None
    return state


def move(state: TrainState) -> None:
    """A step that changes everything a state has."""
    for parameter in state.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    if state.ema is not None:
        for parameter in state.ema.parameters():
            parameter.data.add_(0.5)
    state.unlogged = torch.rand(5, dtype=torch.float64)
    state.step += 1
    state.best = {"value": 1 / state.step, "step": state.step, "weights": "ema"}


def flat(state: TrainState) -> dict[str, torch.Tensor]:
    """Every tensor of a state, copied."""
    out = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    if state.ema is not None:
        out |= {f"ema.{name}": value for name, value in state.ema.state_dict().items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        out |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
    if state.unlogged is not None:
        out["unlogged"] = state.unlogged
    return {name: value.clone() for name, value in out.items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture
def experiment() -> Experiment:
    return make_experiment(training={"ema": 0.99})


@pytest.fixture
def run(tmp_path: Path, experiment: Experiment) -> RunFolder:
    run = RunFolder.create(tmp_path, experiment="test", name="run")
    atomic.write_text(run.config, strict.dump(experiment))
    atomic.write_json(run.provenance, {"experiment_hash": strict.digest(experiment)})
    return run


@pytest.fixture
def saver(run: RunFolder, experiment: Experiment) -> Iterator[Saver]:
    saver = Saver(run, experiment, PER_EPOCH)
    yield saver
    saver.close()


# ---- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [True, False])
def test_it_comes_back_as_it_was_asked_for(run: RunFolder, experiment: Experiment, saver: Saver, wait: bool) -> None:
    state = make_state(experiment)
    move(state)
    asked, rng = flat(state), torch.get_rng_state()
    saver.save(state, reason="test", wait=wait)
    for _ in range(3):  # training goes on while it is written
        move(state)
    saver.settle()
    (saved,) = saver.finished()
    assert (saved.name, saved.step, saved.reason) == ("step-000000001", 1, "test")
    assert 0 < saved.stalled_s <= saved.seconds

    back = make_state(experiment, seed=1)
    restore(run.newest_checkpoint()[0], back)
    assert same(flat(back), asked)
    assert (back.step, back.best) == (1, {"value": 1.0, "step": 1, "weights": "ema"})
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_goes_on_while_its_state_is_copied(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    """The copies are queued behind the step that was asked for and before the next: no wait, and no later value."""
    torch.manual_seed(0)
    model = make_model(experiment.model).cuda()
    state = TrainState(model, make_optimizer(model, experiment.training), ema=copy.deepcopy(model))
    for _ in range(20):
        move(state)
    asked = {name: value.cpu() for name, value in flat(state).items()}
    torch.cuda._sleep(100_000_000)  # the device is busy when the copies are queued
    saver.save(state, reason="test")
    for _ in range(20):
        move(state)
    saver.settle()
    content = torch.load(run.newest_checkpoint()[0].state, weights_only=True)
    assert all(torch.equal(value, asked[f"model.{name}"]) for name, value in content["model"].items())
    back = TrainState(make_model(experiment.model).cuda(), state.optimizer, ema=copy.deepcopy(model))
    back.optimizer = make_optimizer(back.model, experiment.training)
    restore(run.newest_checkpoint()[0], back)
    assert same({name: value.cpu() for name, value in flat(back).items()}, asked)


def test_both_weights_can_be_used(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    state = make_state(experiment)
    move(state)
    saver.save(state, reason="test", wait=True)
    folder = run.newest_checkpoint()[0]
    assert set(folder.meta["files"]) == {"state.pt", "weights.safetensors", "weights_ema.safetensors"}
    assert state.ema is not None
    for path, model in ((folder.weights, state.model), (folder.weights_ema, state.ema)):
        loaded = load_model(path).state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    assert folder.meta["experiment"]["training"]["ema"] == 0.99


def test_a_mean_that_begins_later_begins_with_the_weights(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    state = make_state(experiment, ema=False)
    move(state)
    saver.save(state, reason="test", wait=True)
    assert not run.newest_checkpoint()[0].weights_ema.exists()
    back = make_state(experiment, seed=1)
    restore(run.newest_checkpoint()[0], back)
    assert back.ema is not None
    for name, value in state.model.state_dict().items():
        assert torch.equal(back.ema.state_dict()[name], value)


@pytest.mark.parametrize("number", [1, 3])
def test_another_format_is_refused(
    run: RunFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FORMAT", number)
        state = make_state(experiment)
        taken = checkpoints.snapshot(state, reason="test", experiment=experiment, steps_per_epoch=PER_EPOCH)
    folder = checkpoints.write(run, taken, keep_last=2, steps_per_epoch=PER_EPOCH)
    with pytest.raises(WrongUse, match=rf"format {number}; expected .*format 2; .*train again"):
        restore(folder, make_state(experiment))
    with pytest.raises(WrongUse, match=rf"format {number}; expected"):
        same_experiment(run, {"experiment_hash": "of then"})


def test_what_stays(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    state = make_state(experiment)
    for step in (0, 50, 100, 130, 160):
        state.step = step
        saver.save(state, reason="test")
    saver.settle()
    assert [found.step for found in run.all_checkpoints()] == [100, 130, 160]


def test_a_course_that_was_given_up_goes(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    """A damaged later checkpoint must not push out the whole ones of the run that went on from an earlier one."""
    state = make_state(experiment)
    for step in (10, 20, 30):
        state.step = step
        saver.save(state, reason="test", wait=True)
    (run.checkpoints / "step-000000030" / "state.pt").write_bytes(b"")
    assert run.newest_checkpoint()[0].step == 20
    state.step = 25
    saver.save(state, reason="test", wait=True)
    assert [found.step for found in run.all_checkpoints()] == [20, 25]


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors", "weights_ema.safetensors", "meta.json"])
def test_real_damage_is_noticed(run: RunFolder, experiment: Experiment, saver: Saver, name: str) -> None:
    state = make_state(experiment)
    for step in (10, 20):
        state.step = step
        saver.save(state, reason="test", wait=True)
    file = run.checkpoints / "step-000000020" / name
    whole = file.read_bytes()
    damaged = [whole[:length] for length in (0, 1, len(whole) // 2, len(whole) - 2)]
    middle = len(whole) // 2
    damaged.append(whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :])
    for content in damaged:
        file.write_bytes(content)
        found, problems = run.newest_checkpoint()
        assert (found.step, len(problems)) == (10, 1)
        assert name in problems[0] or name == "meta.json"
        restore(found, make_state(experiment))


# ---- failures ----------------------------------------------------------------------------------------------------


def fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)


@pytest.mark.parametrize("way", ["finished", "save", "close", "settle"])
def test_a_failure_of_the_thread_is_raised_in_training(
    run: RunFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    saver, state = Saver(run, experiment, PER_EPOCH), make_state(experiment)
    saver.save(state, reason="start", wait=True)
    move(state)
    with monkeypatch.context() as patch:
        fail(patch)
        saver.save(state, reason="time")
        while saver.look() == (False, False):
            pass
    assert saver.look() == (True, True)
    with pytest.raises(OSError, match="No space left"):
        {"finished": saver.finished, "close": saver.close, "settle": saver.settle}.get(
            way, lambda: saver.save(state, reason="next")
        )()
    saver.close()  # raised once
    found, problems = run.newest_checkpoint()
    assert (found.step, problems) == (0, [])
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000000000"]


def test_one_at_a_time(run: RunFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    saver, state = Saver(run, experiment, PER_EPOCH), make_state(experiment)
    at_once, most = 0, 0
    true_write = saver_module.write

    def counting(*arguments: Any, **more: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert threading.current_thread() is not threading.main_thread()
        out = true_write(*arguments, **more)
        at_once -= 1
        return out

    monkeypatch.setattr(saver_module, "write", counting)
    for _ in range(5):
        move(state)
        saver.save(state, reason="time")
    saver.close()
    assert most == 1
    assert [saved.step for saved in saver.finished()] == [1, 2, 3, 4, 5]


def test_rows_are_durable_before_the_checkpoint(run: RunFolder, experiment: Experiment) -> None:
    at = []
    saver = Saver(run, experiment, PER_EPOCH, before=lambda: at.append(len(run.all_checkpoints())))
    state = make_state(experiment)
    saver.save(state, reason="start", wait=True)
    move(state)
    saver.save(state, reason="time")
    saver.close()
    assert at == [0, 1]


@pytest.mark.parametrize("wait", [True, False])
def test_a_full_disk(small_disk: Path, experiment: Experiment, wait: bool) -> None:
    run = RunFolder.create(small_disk, experiment="test", name="run")
    saver, state = Saver(run, experiment, PER_EPOCH), make_state(experiment)
    saver.save(state, reason="start", wait=True)
    size = sum(file.stat().st_size for file in run.checkpoints.rglob("*"))
    # Room for half of the next one.
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "ballast").write_bytes(b"x" * (free - size // 2))
    move(state)
    with pytest.raises(OSError, match="No space left") as caught, contextlib.closing(saver):
        saver.save(state, reason="time", wait=wait)
    assert caught.value.errno == errno.ENOSPC
    found, problems = run.newest_checkpoint()
    assert (found.step, problems) == (0, [])
    assert len(list(run.checkpoints.iterdir())) == 1
    restore(found, make_state(experiment))


# ---- the frozen experiment ---------------------------------------------------------------------------------------


def told(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.provenance.read_text())
    return content


def edit(run: RunFolder, experiment: Experiment, **training: Any) -> Experiment:
    edited = experiment.model_copy(update={"training": experiment.training.model_copy(update=training)})
    atomic.write_text(run.config, strict.dump(edited))
    return edited


def test_an_edited_config_is_refused(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    assert same_experiment(run, told(run)) == experiment
    run.config.write_text(run.config.read_text() + "\n# a comment changes nothing\n")
    assert same_experiment(run, told(run)) == experiment
    saver.save(make_state(experiment), reason="start", wait=True)
    edit(run, experiment, lr=0.25, seed=7)
    with pytest.raises(
        WrongUse, match=r"edited under the run \(training.lr: 0.005 -> 0.25, training.seed: 0 -> 7\).*training.lr=0.25"
    ):
        same_experiment(run, told(run))
    assert same_experiment(run, told(run), overridden=["training.lr", "training.seed"]) == experiment


def test_a_recorded_change_is_no_edit(run: RunFolder, experiment: Experiment, saver: Saver) -> None:
    saver.save(make_state(experiment), reason="start", wait=True)
    more = experiment.with_epochs(7)
    record_experiment(run, more)
    assert same_experiment(run, told(run)) == more
    edit(run, experiment)  # back to what it was
    with pytest.raises(WrongUse, match="edited under the run"):
        same_experiment(run, told(run))


@pytest.mark.parametrize("num_writes", [0, 1, 2])
def test_killed_while_a_change_is_recorded(
    run: RunFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, num_writes: int
) -> None:
    more, left = experiment.with_epochs(7), num_writes
    true_write = atomic.write_bytes

    def dying(path: Path, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise SystemExit
        left -= 1
        true_write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", dying)
        with pytest.raises(SystemExit):
            record_experiment(run, more)
    assert same_experiment(run, told(run)) == (more if num_writes == 2 else experiment)


def test_a_config_written_before_a_key_was_there(
    run: RunFolder, experiment: Experiment, saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is another now, though nothing was edited: the values of the newest checkpoint say so."""
    with monkeypatch.context() as patch:
        patch.setattr(strict, "digest", lambda model: "as it was then")
        saver.save(make_state(experiment), reason="start", wait=True)
    before = {"experiment_hash": "as it was then"}
    assert same_experiment(run, before) == experiment
    edit(run, experiment, lr=0.25)
    with pytest.raises(WrongUse, match=r"training.lr: 0.005 -> 0.25"):
        same_experiment(run, before)
