"""A training with a tracker: what arrives is the run's own record; what fails, fails before the first step."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from worldmodel.errors import WrongUse
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.status import read_status
from worldmodel.runs.strict import dump
from worldmodel.tracking import jsonl
from worldmodel.training.run import resume_training, run_training
from worldmodel.training.tracker import Track, mirroring

sys.path.append(str(Path(__file__).resolve().parents[1] / "tracking"))
from wandb_server import WandbServer

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="the tracker's client is not installed (extra `wandb`)"
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    path = tmp_path / "small.yaml"
    path.write_text(dump(make_experiment(training={"val_windows": 8})))
    return path


def quiet(text: str) -> None:
    pass


@needs_client
@pytest.mark.slow
def test_what_arrives_is_the_record_through_two_lives(
    config: Path, dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        asked = Track("required", "melee", "team")
        first = run_training(
            config, dataset_path, epochs=1, runs=tmp_path / "runs", name="r", device="cpu", say=quiet, track=asked
        )
        run = first.run
        status = read_status(run)
        assert status is not None
        assert (status["tracker"]["policy"], status["phase"]) == ("required", "ended")
        # What became of the rest is known only after the run's own end, and stands there.
        assert (read_status(run) or {})["tracker"]["state"] == "finished"
        resume_training(run.path, epochs=2, device="cpu", say=quiet)  # tracked as before
        (told,) = server.runs.values()
    rows = [row for row in jsonl.read(run.metrics).rows if row["kind"] != "naive"]
    for name in ("loss/total", "val_change_acc", "lr"):
        wanted = {row["step"]: row[name] for row in rows if name in row and row.get("weights", "raw") == "raw"}
        assert server.values(name) == pytest.approx(wanted)
    assert told["config"]["model"]["value"]["d_model"] == 32
    origin = told["config"]["run"]["value"]
    assert origin["dataset"]["content_hash"] == json.loads(run.provenance.read_text())["dataset"]["content_hash"]
    newest, _ = run.newest_checkpoint()
    assert told["summary"]["checkpoint/state.pt"] == newest.meta["files"]["state.pt"]
    assert (told["summary"]["ended"], told["project"], told["display"]) == ("finished", "melee", "r")


@needs_client
def test_required_and_not_there_leaves_no_run(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(WrongUse, match="without a key"):
        run_training(
            config,
            dataset_path,
            runs=tmp_path / "runs",
            name="r",
            device="cpu",
            say=said.append,
            track=Track("required"),
        )
    assert not (tmp_path / "runs/r").exists()
    assert not any("the run goes on" in line for line in said)


@needs_client
def test_optional_and_not_there_trains_as_ever(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    said: list[str] = []
    result = run_training(
        config, dataset_path, epochs=1, runs=tmp_path, name="r", device="cpu", say=said.append, track=Track("optional")
    )
    assert result.reason == "finished"
    assert any("TRACKER FAILED" in line for line in said)
    assert jsonl.read(RunFolder(tmp_path / "r").tracker).rows[-1]["failures"] >= 1


def test_the_cards_hash_is_told(config: Path, dataset_path: Path, tmp_path: Path) -> None:
    """As the launcher wrote it beside the run, or as it was given where there is no launcher."""
    one = run_training(config, dataset_path, epochs=1, runs=tmp_path, name="a", device="cpu", say=quiet).run
    assert mirroring(one, Track("optional")).config["card_hash"] is None
    one.launch.write_text(json.dumps({"card_hash": "c0ffee"}))
    assert mirroring(one, Track("optional")).config["card_hash"] == "c0ffee"
    two = run_training(config, dataset_path, epochs=1, runs=tmp_path, name="b", device="cpu", say=quiet, card="abc").run
    assert mirroring(two, Track("optional")).config["card_hash"] == "abc"


def test_words() -> None:
    with pytest.raises(WrongUse, match="one of required, optional, off"):
        Track("maybe")
    with pytest.raises(WrongUse, match="without --track"):
        Track(None, "melee")
