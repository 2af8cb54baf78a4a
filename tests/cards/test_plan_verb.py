"""`worldmodel plan` on a real dataset and a real device: measured, kept, rendered, compared with what came of it."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from worldmodel.cards import plan_measure
from worldmodel.cards.plan_measure import Resident, scratch
from worldmodel.cards.plans import read_plans
from worldmodel.cards.view import Places
from worldmodel.cli import main
from worldmodel.dataset.ingest import ingest
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.game import Rules
from worldmodel.replays.synth.generate import generate
from worldmodel.runs.planned import FILE
from worldmodel.training import self_forcing
from worldmodel.training.checkpoint import TrainState
from worldmodel.training.optim import make_optimizer

SMALL = (
    "model={arch: mamba2, d_model: 32, n_layers: 1, d_state: 8, headdim: 16}",
    "training={epochs: 2, batch_size: 16, threads: 1, val_windows: 32, log_every_steps: 5, log_every_s: 0.1}",
    "self_forcing={every: 2, max_frames: 4, begin: 0.3, reach: 0.6}",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    for name, data in generate(24, 1, rules=Rules(max_frames=300)):
        (folder / name).write_bytes(data)
    ingest(iter_sources([folder]), folder / "dataset", filters=(), min_frames=1, workers=1)
    return folder / "dataset"


Shell = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def shell(places: Places, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run a verb in the folders of the test: its exit code, its JSON, and under "err" what it said."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        folders = ["--cards", str(places.cards), "--runs", str(places.runs)]
        code = main([*words, *folders, "--json"])
        said = capsys.readouterr()
        return code, (json.loads(said.out.splitlines()[-1]) if said.out else {}) | {"err": said.err}

    return run


def new(shell: Shell, dataset: Path, *more: str, name: str = "night") -> None:
    assert shell("card", "new", "--from", "tiny", "--data", str(dataset), *SMALL, "--name", name, *more)[0] == 0


def plan(shell: Shell, name: str = "night", *more: str) -> tuple[int, dict[str, Any]]:
    return shell("plan", name, "--device", "cpu", "--seconds", "0.2", *more)


def test_a_card_is_measured_kept_and_rendered(shell: Shell, dataset: Path, places: Places) -> None:
    new(shell, dataset)
    assert shell("card", "check", "night")[0] == 0
    code, found = plan(shell)
    assert code == 0
    assert found["tables"] == ["logging", "timing"]
    assert shell("card", "check", "night")[0] == 0, "its tables are those of the plan"
    assert not places.runs.exists(), "nothing is written into a run folder, or left on its disk"
    assert not list(places.runs.parent.glob(".aside-*"))
    (kept,) = read_plans(places.cards / FILE).plans
    parts = kept.measured
    assert [kind.what for kind in parts.kinds] == ["undisturbed", "with 4 own frames"]
    assert parts.light is not None
    assert parts.heavy is not None
    assert parts.heavy.at_step > parts.light.at_step == 0
    assert parts.validation is not None
    assert 0 < parts.validation.num_windows == parts.validation.num_all <= 32
    assert parts.checkpoint.num_bytes > 3 * 4 * found["plan"]["measured"]["checkpoint"]["stall_s"] > 0
    assert kept.why_not is None
    assert kept.told is not None
    assert found["low_s"] <= found["total_s"] == kept.told.total_s <= found["high_s"]
    assert kept.told.num_steps == found["num_steps"]
    assert kept.told.high_s >= 5 * kept.told.raw_s, "nothing to go by yet: the card's factor"
    table = (places.cards / "night.md").read_text()
    assert "A step, with 4 own frames" in table
    assert {finding["question"] for finding in found["findings"]} >= {"room_in_memory", "room_on_disk", "saving"}


@pytest.mark.slow
def test_the_heavy_steps_are_heavy(
    shell: Shell, dataset: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every one of them rolls out as many frames as the schedule ever asks for, and no light one does."""
    rolled: list[int] = []
    truly = self_forcing.roll_out

    def roll_out(model: Any, shown: Any, pads: Any, context: Any, s: int, num_frames: int) -> Any:
        rolled.append(num_frames)
        return truly(model, shown, pads, context, s, num_frames)

    monkeypatch.setattr(self_forcing, "roll_out", roll_out)
    new(shell, dataset)
    plan(shell)
    (kept,) = read_plans(places.cards / FILE).plans
    assert kept.measured.heavy is not None
    assert rolled == [4] * (kept.measured.heavy.num_steps + 2), "those that warm up among them"


@pytest.mark.slow
def test_a_stale_plan_is_known(shell: Shell, dataset: Path, places: Places) -> None:
    new(shell, dataset)
    plan(shell)
    card = places.cards / "night.md"
    card.write_text(card.read_text().replace("batch_size: 16", "batch_size: 8"))
    code, report = shell("card", "check", "night")
    assert code == 1
    assert "timing" in report["cards"][0]["stale"]


@pytest.mark.slow
def test_another_device_gets_what_it_may(shell: Shell, dataset: Path, places: Places) -> None:
    new(shell, dataset, "--backend", "modal", "--gpu", "A100-40GB")
    code, found = plan(shell)
    assert code == 0
    assert found["why_not"] == "the card's is A100-40GB, this is a cpu"
    assert found["total_s"] is found["usd"] is None
    assert "NOT THE CARD'S DEVICE" in found["err"]
    (kept,) = read_plans(places.cards / FILE).plans
    assert kept.speeds is None
    assert kept.measured.kinds == []
    assert kept.measured.checkpoint.num_bytes > 0
    assert "has no step times for it" in (places.cards / "night.md").read_text()
    assert plan(shell, "night", "--here")[1]["usd"] > 0, "whoever says that this is it is believed"
    assert shell("card", "check", "night")[0] == 0


def test_an_experiment_without_a_card(shell: Shell, dataset: Path, places: Places) -> None:
    code, found = plan(shell, "tiny", *SMALL, "--data", str(dataset), "--epochs", "3")
    assert code == 0
    assert found["num_steps"] == 3 * found["steps_per_epoch"]
    assert found["total_s"] > 0
    assert [path.name for path in places.cards.iterdir()] == [FILE], "no card is made of it"
    new(shell, dataset)
    assert "A step, with 4 own frames" in (places.cards / "night.md").read_text(), "a card of the same work has it"


def test_dry_measures_nothing(shell: Shell, dataset: Path, places: Places) -> None:
    code, found = shell("plan", "tiny", "--data", str(dataset), "--dry")
    assert (code, places.cards.exists()) == (0, False)
    assert found["steps_per_epoch"] > 0
    assert "learning rate by step" in found["err"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "no card and no experiment"),
        (("plan", "nothing"), "no card 'nothing'"),
        (("plan", "nothing", "--data", "D"), "no experiment 'nothing'"),
        (("plan", "night", "training.lr=1"), "write them into the card's overrides"),
        (("plan", "none.md"), "no card 'none.md'"),
    ],
)
def test_wrong_use(shell: Shell, dataset: Path, words: tuple[str, ...], said: str) -> None:
    new(shell, dataset)
    code, found = shell(*(str(dataset) if word == "D" else word for word in words))
    assert code == 2
    assert said in found["err"]


@pytest.mark.slow
def test_what_does_not_fit_is_an_exit_code(shell: Shell, dataset: Path, places: Places) -> None:
    new(shell, dataset)
    card = places.cards / "night.md"
    card.write_text(card.read_text().replace("name: local", "name: local, timeout_s: 1, memory_gb: 0.001"))
    code, found = plan(shell)
    assert code == 1
    bad = {finding["question"] for finding in found["findings"] if finding["severity"] == "blocker"}
    assert bad >= {"room_in_memory"}


@pytest.mark.slow
def test_the_past_is_in_the_next_interval(shell: Shell, dataset: Path, places: Places) -> None:
    """A run with a plan is an outcome, once; what it was off by is in the interval of the next plan."""
    new(shell, dataset)
    plan(shell)
    train = ["train", "tiny", *SMALL, "--data", str(dataset), "--name", "night", "--device", "cpu"]
    assert main([*train, "--runs", str(places.runs)]) == 0
    _, first = shell("plan", "--calibration")
    _, second = shell("plan", "--calibration")
    assert first["outcomes"] == second["outcomes"]
    (row,) = first["outcomes"]
    assert (row["run"], row["ended"], row["step"]) == ("night", "finished", row["num_steps"])
    assert set(row["ratios"]) >= {"total_s", "epoch_s", "memory"}
    assert 0.05 < row["ratios"]["total_s"] < 20
    assert 0.3 < row["ratios"]["memory"] < 3
    shell("plan", "--calibration")
    assert len((places.cards / FILE).read_text().splitlines()) == 2
    _, found = plan(shell)
    (ratio,) = found["plan"]["ratios"]
    assert ratio == pytest.approx(row["ratios"]["total_s"])
    raw = found["plan"]["told"]["raw_s"]
    assert found["low_s"] <= ratio * raw * 1.0001
    assert found["high_s"] >= ratio * raw * 0.9999
    assert "1 earlier run took" in found["err"]
    assert "night has begun: its card keeps the plan that it was decided by" in found["err"]
    assert "no earlier plan to go by" in (places.cards / "night.md").read_text()
    assert shell("card", "check", "night")[0] == 0
    new(shell, dataset, name="next")
    assert "1 earlier run took" in (places.cards / "next.md").read_text()


# ---- pieces ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_said_now(shell: Shell, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(experiment: Any, device: torch.device) -> TrainState:
        from worldmodel.training.loop import make_state

        state = make_state(experiment, device)
        next(state.model.parameters()).data.fill_(float("nan"))
        return TrainState(state.model, make_optimizer(state.model, experiment.training))

    monkeypatch.setattr(plan_measure, "make_state", poisoned)
    new(shell, dataset)
    code, found = plan(shell)
    assert code == 1
    assert "not finite" in found["err"]


def test_the_most_memory_is_seen(tmp_path: Path) -> None:
    # Not from the C library, which keeps what it was given back.
    with Resident(every_s=0.001) as seen, mmap.mmap(-1, 200_000_000) as big:
        for place in range(0, len(big), 4096):
            big[place] = 1
    with Resident() as after:
        pass
    assert seen.peak - after.peak > 100_000_000


def test_what_a_killed_plan_left_goes(tmp_path: Path) -> None:
    left = tmp_path / ".aside-plan-999999999-x"
    left.mkdir()
    (left / "big").write_bytes(b"0")
    with scratch(tmp_path) as folder:
        assert not left.exists()
        assert folder.is_dir()
        with scratch(tmp_path):
            assert folder.is_dir(), "another one that lives keeps its own"
    assert list(tmp_path.iterdir()) == []
