"""Launching as a person does: waiting for health, a start that fails shown at once, verbs on what runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_worker import Launches, events, step_of, wait_for

from worldmodel.cli import main
from worldmodel.launch import board, start
from worldmodel.runs.folder import RunFolder


class Verb:
    """Runs a verb, gives its exit code and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], launches: Launches) -> None:
        self._capsys, self._launches = capsys, launches

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        code = main([*map(str, arguments)])
        self._launches.all = [RunFolder(path) for path in self._launches.runs.iterdir()]
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def mode() -> dict[str, str]:
    return {"mode": "plain"}


@pytest.fixture
def verb(
    launches: Launches,
    tmp_path: Path,
    mode: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Verb]:
    """Launches the stand-in of fake_worker instead of a training."""

    def commands(run: RunFolder, arguments: list[str], *, later: list[str], **more: Any) -> tuple[list[str], list[str]]:
        command = [sys.executable, str(tmp_path / "worker.py"), str(run.path), mode["mode"]]
        return command, command

    monkeypatch.setattr(start, "train_commands", commands)
    monkeypatch.chdir(tmp_path)
    return Verb(capsys, launches)


def test_a_night(verb: Verb, launches: Launches) -> None:
    """Launch, look, stop: the verbs a person needs."""
    code, out, _ = verb("launch", "tiny", "--data", ".", "--name", "night")
    assert code == 0, out
    for piece in ("data", "validation  works", "read back", "trained", "goes on without this terminal"):
        assert piece in out
    run = RunFolder(launches.runs / "night")
    code, out, _ = verb("launch", "tiny", "--data", ".", "--name", "second")
    assert code == 2
    assert not (launches.runs / "second").exists()

    code, out, _ = verb("runs", "--json")
    told = json.loads(out.splitlines()[-1])["runs"]
    assert [(row["run"], row["state"]) for row in told] == [("runs/night", "running")]
    code, out, _ = verb("watch", "night", "--once")
    assert (code, "night  running" in out) == (0, True)
    assert "loss/total" in verb("status")[1]
    assert verb("logs", "night")[0] == 0

    before = step_of(run)
    wait_for(lambda: step_of(run) > before)
    code, out, _ = verb("stop", "night")
    assert code == 0
    assert "stopped after" in out
    assert "saved at step" in out
    assert "has ended before: SIGTERM" in verb("stop", "night")[1]
    assert "stopped" in verb("runs")[1]

    saved = run.newest_checkpoint()[0].step
    code, out, _ = verb("launch", "--resume", "night")
    assert code == 0
    assert f"goes on from step {saved:,} of 10,000" in out
    assert step_of(run) >= saved + 3
    code, out, err = verb("launch", "--resume", "night")
    assert code == 2
    assert "expected a run that has ended" in err
    assert verb("stop", "night")[0] == 0


def test_a_start_that_crashes_is_shown_here(verb: Verb, mode: dict[str, str], launches: Launches) -> None:
    mode["mode"] = "import-error"
    code, out, err = verb("launch", "tiny", "--data", ".", "--name", "night")
    assert code == 1
    assert "Traceback (most recent call last)" in out
    assert "ModuleNotFoundError: No module named 'no_such_package'" in out
    assert "failed at its start" in err
    assert board.look(RunFolder(launches.runs / "night")).state == "crashed"
    assert "no_such_package" in verb("logs", "night")[1]


def test_wrong_input_is_one_line_and_the_name_stays_free(verb: Verb, mode: dict[str, str], launches: Launches) -> None:
    mode["mode"] = "wrong-use"
    code, _, err = verb("launch", "tiny", "--data", ".", "--name", "night")
    assert (code, err) == (2, "worldmodel: no folder /data; expected a dataset; check the path\n")
    assert list(launches.runs.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_finishes_at_once_is_well(verb: Verb, mode: dict[str, str]) -> None:
    mode["mode"] = "short"
    assert verb("launch", "tiny", "--data", ".")[0] == 0


@pytest.mark.slow
def test_not_waited_for(verb: Verb, launches: Launches) -> None:
    code, out, _ = verb("launch", "tiny", "--data", ".", "--name", "night", "--detach")
    assert code == 0
    assert "NOT WAITED FOR" in out
    run = RunFolder(launches.runs / "night")
    assert board.look(run).state in ("starting", "running")
    wait_for(lambda: "started" in events(run))


def test_the_launcher_is_interrupted_and_the_run_goes_on(
    verb: Verb, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "wait_until_well", interrupted)
    code, out, _ = verb("launch", "tiny", "--data", ".", "--name", "night")
    assert code == 130
    assert "the run goes on" in out
    wait_for(lambda: step_of(RunFolder(launches.runs / "night")) > 3)


def test_replay_as_a_verb(verb: Verb, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "old"
    run.mkdir()
    records = Path(__file__).parents[1] / "runs" / "records" / "diverging"
    for name in ("metrics.jsonl", "pace.jsonl"):
        (run / name).write_bytes((records / name).read_bytes())
    (run / "run.json").write_text("{}")
    rule = "above metric=loss/total threshold=10"
    code, out, _ = verb("rules", "replay", "old", "--rule", rule, "--json")
    found = json.loads(out.splitlines()[-1])["rules"][0]
    assert (code, found["fires"], found["first"]["at_step"]) == (0, True, 2)
    assert verb("rules", "replay", "old")[0] == 2
    assert verb("rules", "replay", "old", "--rule", "abov metric=x threshold=1")[0] == 2
    assert "not_decreasing" in verb("rules", "list")[1]


# ---- the real thing ----------------------------------------------------------------------------------------------

TINY = """
model: {arch: mamba2, d_model: 32, n_layers: 1, d_state: 8, headdim: 16}
data: {mode: sequence, length: 16, burn_in: 4}
training: {epochs: 200, batch_size: 8, log_every_steps: 5, log_every_s: 0.5, val_windows: 32, threads: 1}
"""


@pytest.mark.slow
def test_a_real_training_is_launched_judged_and_resumed(
    tmp_path: Path, launches: Launches, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health by a real run; kill -9 and a second life; a rule that ends it; a dataset that is not there."""
    import os
    import signal

    from worldmodel.dataset.ingest import ingest
    from worldmodel.launch.base import read_care
    from worldmodel.replays.source import iter_sources
    from worldmodel.replays.synth.game import Rules
    from worldmodel.replays.synth.generate import generate

    monkeypatch.chdir(tmp_path)
    (tmp_path / "replays").mkdir()
    for name, data in generate(12, 1, rules=Rules(max_frames=300)):
        (tmp_path / "replays" / name).write_bytes(data)
    ingest(iter_sources([tmp_path / "replays"]), tmp_path / "data", filters=(), min_frames=1, workers=1)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "rules.yaml").write_text(
        "kill: [{rule: above, metric: loss/total, threshold: 0.01, after_epochs: 20}]\n"
    )
    verb = Verb(capsys, launches)
    code, _, err = verb("launch", "tiny.yaml", "--data", "nowhere", "--name", "night")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "expected a dataset" in err
    code, out, err = verb(
        "launch", "tiny.yaml", "--data", "data", "--name", "night", "--rules", "rules.yaml", "--retries", "1",
        "training.checkpoint_every_min=0.01",
    )  # fmt: skip
    assert code == 0, out + err
    run = RunFolder(launches.runs / "night")
    wait_for(lambda: any(checkpoint.step for checkpoint in run.all_checkpoints()))
    os.kill(read_care(run)["worker"]["pid"], signal.SIGKILL)
    wait_for(lambda: "resumed" in events(run), 60)
    wait_for(lambda: board.look(run).is_over, 120)
    sight = board.look(run)
    assert (sight.state, sight.why) == ("stopped by rule", "rule: above")
    status = sight.status
    assert status["last_checkpoint"]["step"] == status["step"] == run.newest_checkpoint()[0].step
    wait_for(lambda: "not begun again: it was stopped by rule" in run.care_log.read_text())
    wait_for(lambda: events(run)[-1] == "exited")
