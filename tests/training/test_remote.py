"""An attempt on a machine that may go: the same call again goes on, what is fatal is not paid for twice."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import read_status
from worldmodel.runs.strict import dump
from worldmodel.tracking import jsonl
from worldmodel.training import remote
from worldmodel.training.publish import Publisher
from worldmodel.training.remote import GoOn, Place, Work, attempt

OVER_S = 0.01
"""A limit that is over before the first step is: how fast the machine is decides nothing."""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(dump(make_experiment(training={"val_windows": 8})))
    return str(path)


@pytest.fixture
def place(dataset_path: Path, tmp_path: Path) -> Place:
    """A data volume with a dataset, a runs volume that is empty."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ds").symlink_to(dataset_path)
    (tmp_path / "runs").mkdir()
    return Place(tmp_path / "data", tmp_path / "runs", commit=lambda: None)


def quiet(text: str) -> None:
    pass


def go(place: Place, config: str, name: str = "r", **more: object) -> dict[str, object]:
    given = {"encoded_file": "/ds", "epochs": 1, "device": "cpu"} | more
    say = given.pop("say", quiet)
    return attempt(place, lambda: Work(config=config, run_name=name, **given), say=say)  # type: ignore[arg-type]


def weights(run: Path) -> bytes:
    newest, _ = RunFolder(run).newest_checkpoint()
    return newest.weights.read_bytes()


@pytest.mark.slow
def test_cut_into_attempts_it_ends_in_the_same_weights(place: Place, config: str) -> None:
    whole = go(place, config, "whole")
    commits: list[int] = []
    limited = Place(place.data, place.runs, lambda: commits.append(1), call="fc-1", time_limit_s=OVER_S)
    free = Place(place.data, place.runs, lambda: commits.append(1), call="fc-1")
    with pytest.raises(GoOn, match="deadline at step"):
        go(limited, config, "cut")
    result = go(free, config, "cut")
    assert (result["reason"], result["step"]) == ("finished", whole["step"])
    assert weights(place.runs / "cut") == weights(place.runs / "whole")
    assert commits
    told = json.loads((place.runs / ".calls/fc-1.json").read_text())
    assert told["attempts"][0]["step"] == -1
    published = [row for row in jsonl.read(place.runs / "cut/events.jsonl").rows if row["event"] == "published"]
    assert published[-1]["of_step"] == result["step"]


CHILD = """
import json, sys
from pathlib import Path
from worldmodel.training.remote import Place, Work, attempt
given = json.loads(sys.argv[1])
place = Place(Path(given["data"]), Path(given["runs"]), commit=lambda: None, call="fc-k")
work = Work(encoded_file="/ds", config=given["config"], run_name="killed", epochs=2, device="cpu")
print(attempt(place, lambda: work)["reason"])
"""


@pytest.mark.slow
def test_a_machine_that_is_gone_without_a_word(place: Place, dataset_path: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of two attempts of a call: the third ends with the weights of a run that was left alone."""
    path = tmp_path / "saving.yaml"
    path.write_text(dump(make_experiment(training={"val_windows": 8, "checkpoint_every_min": 0.002})))
    go(place, str(path), "alone", epochs=2)
    order = json.dumps({"data": str(place.data), "runs": str(place.runs), "config": str(path)})
    before = 0
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", CHILD, order], stderr=subprocess.DEVNULL) as child:
            while child.poll() is None:
                found = RunFolder(place.runs / "killed").all_checkpoints()
                if found and found[-1].step > before:
                    break
                time.sleep(0.001)
            child.kill()
        assert child.returncode == -9, "it was over before it could be killed"
        before = RunFolder(place.runs / "killed").newest_checkpoint()[0].step
    done = subprocess.run([sys.executable, "-c", CHILD, order], capture_output=True, text=True, check=True)
    assert done.stdout == "finished\n"
    assert "attempt 3: killed goes on from step" in done.stderr
    assert weights(place.runs / "killed") == weights(place.runs / "alone")
    attempts = json.loads((place.runs / ".calls/fc-k.json").read_text())["attempts"]
    assert [entry["step"] for entry in attempts] == sorted({entry["step"] for entry in attempts})


HANGS = """
import time
from worldmodel.training import sentry
from worldmodel.training.step import Step
sentry.LOOK_S = 0.1
true_step = Step.__call__
def step(self, *given, **more):
    if self.state.step == 30:
        time.sleep(3600)
    return true_step(self, *given, **more)
Step.__call__ = step
"""


@pytest.mark.slow
def test_a_hung_step_ends_the_attempt_and_the_next_goes_on(place: Place, tmp_path: Path) -> None:
    """No supervisor is beside it there, and the platform would wait until its time limit."""
    path = tmp_path / "saving.yaml"
    path.write_text(dump(make_experiment(training={"val_windows": 8, "checkpoint_every_min": 0.002})))
    order = json.dumps({"data": str(place.data), "runs": str(place.runs), "config": str(path)})
    child = CHILD.replace('device="cpu"', 'device="cpu", rules="kill: [{rule: stale, minutes: 0.1}]"')
    hung = subprocess.run([sys.executable, "-c", HANGS + child, order], capture_output=True, text=True, check=False)
    assert hung.returncode == 75, hung.stderr
    assert "KILL RULE stale" in hung.stderr
    assert "in step" in hung.stderr  # where it hung
    assert RunFolder(place.runs / "killed").newest_checkpoint()[0].step > 0
    done = subprocess.run([sys.executable, "-c", child, order], capture_output=True, text=True, check=True)
    assert done.stdout == "finished\n"
    events = jsonl.read(place.runs / "killed/events.jsonl").rows
    assert [row["by"] for row in events if row["event"] == "rule"] == ["sentry"]


@pytest.mark.slow
def test_the_cards_resume_makes_a_second_run(place: Place, config: str) -> None:
    """`--resume mamba2-22k-ss ... --run-name mamba2-22k-ss-resumed`: epochs are totals, the first run stays."""
    first = go(place, config, "first")
    before = weights(place.runs / "first")
    second = go(place, config, "first-resumed", resume="first", epochs=2)
    assert second["step"] == 2 * int(str(first["step"]))
    assert weights(place.runs / "first") == before
    told = json.loads((place.runs / "first-resumed/run.json").read_text())
    assert told["branched_from"]["run"] == "first"
    both = go(place, config, "both", epochs=1)
    assert both["reason"] == "finished"
    in_place = go(place, config, "both", resume="both", epochs=2)
    assert in_place["step"] == second["step"]


def test_a_checkpoint_is_a_place_to_resume_from(place: Place, config: str) -> None:
    go(place, config, "first")
    checkpoints = RunFolder(place.runs / "first").all_checkpoints()
    name = f"first/checkpoints/{checkpoints[0].path.name}"
    again = go(place, config, "again", resume=name)
    assert weights(place.runs / "again") == weights(place.runs / "first")
    assert again["reason"] == "finished"


def test_what_to_resume_is_known_before_any_data_is_read(place: Place, config: str) -> None:
    with pytest.raises(WrongUse, match="no run 'nothing'"):
        go(place, config, "x", resume="nothing", encoded_file="/not-there")
    go(place, config, "r")
    newest, _ = RunFolder(place.runs / "r").newest_checkpoint()
    newest.state.write_bytes(b"damaged")
    with pytest.raises(WrongUse, match="whole checkpoint"):
        go(place, config, "x", resume=f"r/checkpoints/{newest.path.name}", encoded_file="/not-there")
    with pytest.raises(WrongUse, match="upload it"):
        go(place, config, "y", encoded_file="/not-there")
    with pytest.raises(WrongUse, match="--resume r goes on with it"):
        go(place, config, "r")


def test_an_older_checkpoint_is_branched_or_refused(place: Place, config: str) -> None:
    """Never the newest one in its place without a word."""
    go(place, config, "r")
    first = RunFolder(place.runs / "r").all_checkpoints()[0]
    name = f"r/checkpoints/{first.path.name}"
    with pytest.raises(WrongUse, match=r"under which it is branched"):
        go(place, config, "r", resume=name)
    with pytest.raises(WrongUse, match=r"under which it is branched"):
        go(place, config, "", resume=name)
    assert go(place, config, "r2", resume=name)["reason"] == "finished"
    assert weights(place.runs / "r2") == weights(place.runs / "r")


def test_a_run_without_a_name_keeps_the_one_it_got(place: Place, config: str) -> None:
    limited = Place(place.data, place.runs, lambda: None, call="fc-9", time_limit_s=OVER_S)
    with pytest.raises(GoOn):
        go(limited, config, "")
    result = go(Place(place.data, place.runs, lambda: None, call="fc-9"), config, "")
    (run,) = place.runs.glob("small-*")
    assert (result["reason"], Path(str(result["run"])).name) == ("finished", run.name)


def test_the_limit_of_all_attempts_is_an_end(place: Place, config: str) -> None:
    """Not raised: there is no sense in another attempt."""
    of_call = Place(place.data, place.runs, lambda: None, call="fc-8")
    result = go(of_call, config, time_limit_s=OVER_S)
    assert result["reason"] == "deadline"
    status = read_status(RunFolder(place.runs / "r"))
    assert status is not None
    events = [row for row in jsonl.read(place.runs / "r/events.jsonl").rows if row["event"] == "proved"]
    assert [row["what"] for row in events] == ["validation", "checkpoint"]  # what a launcher waits for


def test_another_dataset_of_the_same_name_is_refused(place: Place, config: str) -> None:
    with pytest.raises(WrongUse, match="upload the dataset that was meant"):
        go(place, config, data_hash="0" * 64)
    assert not (place.runs / "r").exists()


def test_an_error_that_a_rule_is_about_is_an_end_like_any_rules(place: Place, config: str) -> None:
    text = Path(config).read_text().replace("lr: ", "lr: 1e30 # ")
    Path(config).write_text(text)
    result = go(place, config, rules="kill:\n  - {rule: non_finite}\n")
    assert result["reason"] == "rule: non_finite"


def test_what_is_fatal_is_not_tried_again(place: Place, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    of_call = Place(place.data, place.runs, lambda: None, call="fc-2", no_more=lambda: asked.append(1))
    with pytest.raises(WrongUse, match="upload it"):
        go(of_call, config, "x", encoded_file="/not-there")
    assert asked == [1]
    told = json.loads((place.runs / ".calls/fc-2.json").read_text())
    assert (told["exit_code"], "upload it" in told["fatal"]) == (2, True)
    monkeypatch.setattr(remote, "_train", lambda *given: pytest.fail("it was tried again"))
    with pytest.raises(WorldModelError, match="said by an earlier attempt"):
        go(of_call, config, "x", encoded_file="/not-there")


def test_attempts_that_do_not_get_on_are_given_up(place: Place, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_call = Place(place.data, place.runs, lambda: None, call="fc-3")

    def crash(*given: object, **named: object) -> None:
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr(remote, "run_training", crash)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            go(of_call, config, "x")
    with pytest.raises(WorldModelError, match="given up: 2 attempts"):
        go(of_call, config, "x")


def test_an_end_by_a_rule_is_an_end(place: Place, config: str) -> None:
    """Returned, not raised: a platform would begin again what a rule has ended."""
    result = go(place, config, rules="kill:\n  - {rule: above, metric: loss/total, threshold: 0.0001}\n")
    assert result["reason"] == "rule: above"


def test_a_commit_that_fails_is_tried_again(place: Place, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)
    monkeypatch.setitem(Publisher.__init__.__kwdefaults__, "again_s", (0.01,))
    tried, said = list[int](), list[str]()

    def commit() -> None:
        tried.append(1)
        if 1 < len(tried) < 4:
            raise RuntimeError("the volume is busy")

    result = go(Place(place.data, place.runs, commit), config, say=said.append)
    assert result["reason"] == "finished"
    assert any("the volume is busy" in line for line in said)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)")
@pytest.mark.filterwarnings("ignore")
def test_the_door_itself_trains_with_folders_as_volumes(
    dataset_path: Path, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function that goes over, on an encoded file: converted, trained, resumed under the card's second name."""
    import numpy as np
    import torch

    from worldmodel.scripts import modal_train

    rng = np.random.default_rng(0)
    num_games, num_frames = 20, 120
    ints = np.zeros((num_games * num_frames, 17), np.int64)
    ints[:, -1] = 31
    file = {
        "floats": torch.from_numpy(rng.random((num_games * num_frames, 56), np.float32)),
        "ints": torch.from_numpy(ints),
        "game_offsets": torch.arange(num_games + 1) * num_frames,
        "encoding_config": {},
    }
    (tmp_path / "data").mkdir()
    torch.save(file, tmp_path / "data/encoded-tiny.pt")
    monkeypatch.setenv("WORLDMODEL_LOCAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WORLDMODEL_LOCAL_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    text = Path(config).read_text()
    first = modal_train.train.local("/encoded-tiny.pt", epochs=1, run_name="mamba2-22k-ss", config=text)
    assert first["reason"] == "finished"
    second = modal_train.train.local(
        resume="mamba2-22k-ss", encoded_file="/encoded-tiny.pt", epochs=2, run_name="mamba2-22k-ss-resumed"
    )
    assert second["step"] == 2 * first["step"]
    assert sorted(path.name for path in (tmp_path / "runs").glob("mamba*")) == [
        "mamba2-22k-ss",
        "mamba2-22k-ss-resumed",
    ]


DOOR = """
import sys, warnings
warnings.simplefilter("ignore")
from worldmodel.scripts import modal_train
try:
    modal_train.train.local("/ds", epochs=200, run_name="r", config=open(sys.argv[1]).read())
except BaseException as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)")
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGUSR1, "InputCancell")])
def test_preempted_or_cancelled_the_door_saves_and_says_so_in_modals_words(
    place: Place, config: str, tmp_path: Path, number: int, said: str
) -> None:
    """What Modal does to a container, done to a process: it takes these two for no failure, so no retry is used up."""
    folders = {"WORLDMODEL_LOCAL_DATA": str(place.data), "WORLDMODEL_LOCAL_RUNS": str(place.runs)}
    run = RunFolder(place.runs / "r")
    with subprocess.Popen(
        [sys.executable, "-c", DOOR, config], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | folders,
    ) as door:  # fmt: skip
        while ((read_status(run) or {}).get("step") or 0) < 3 and door.poll() is None:
            time.sleep(0.05)
        door.send_signal(number)
        out, _ = door.communicate(timeout=60)
    assert out.startswith(said)
    assert "which is saved" in out
    status = read_status(run)
    assert status is not None
    assert run.newest_checkpoint()[0].step == status["step"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)")
def test_a_run_with_a_card_is_told_by_it(
    place: Place, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name alone, as the card's launch command has it: rules, overrides, tracker; unsigned it does not begin."""
    from worldmodel.cards.view import hash_of
    from worldmodel.dataset.store import open_dataset
    from worldmodel.runs.card import CardFile, new_review
    from worldmodel.scripts import modal_train

    cards = tmp_path / "cards"
    cards.mkdir()
    content = open_dataset(place.path("/ds")).content_hash
    (cards / "night.md").write_text(
        f"---\nrun: night\ngoal: see\nconfig: {config}\noverrides: [training.seed=7]\n"
        f"data: {{content_hash: {content}}}\n"
        "kill:\n  - {rule: above, metric: loss/total, threshold: 0.0001}\n"
        "budget: {usd: 25, pessimistic_factor: 5}\nbackend: {name: modal, gpu: A100-40GB}\n---\n\n# Night\n"
    )
    for name, folder in (("DATA", place.data), ("RUNS", place.runs), ("CARDS", cards)):
        monkeypatch.setenv(f"WORLDMODEL_LOCAL_{name}", str(folder))
    with pytest.raises(WrongUse, match="no approval of anybody"):
        modal_train.train.local("/ds", run_name="night", epochs=1)
    assert not (place.runs / "night").exists()
    file = CardFile.read(cards / "night.md")
    hash = hash_of(file)
    file.with_review(new_review(by="me", verdict="approve", comment="", hash=hash)).document.write()
    result = modal_train.train.local("/ds", run_name="night", epochs=1)
    assert result["reason"] == "rule: above"
    told = json.loads((place.runs / "night/run.json").read_text())["experiment"]
    assert (told["card"], told["overrides"]) == (hash, ["training.seed=7"])
    with pytest.raises(WrongUse, match="a JSON list"):
        modal_train.train.local("/ds", run_name="x", overrides="training.seed=7")
