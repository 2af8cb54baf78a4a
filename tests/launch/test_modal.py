"""Modal without an account: the declaration, the door's words, and the backend against a cloud made of a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worldmodel.errors import WrongUse
from worldmodel.launch import board, start
from worldmodel.launch.base import Order, write_order
from worldmodel.launch.modal import Cloud, Modal, call_arguments
from worldmodel.launch.modal_asks import Declaration, pins
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
DOOR = "worldmodel/scripts/modal_train.py::train"
needs_client = pytest.mark.skipif(
    importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)"
)


def modal_cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The card's own command, without anybody's account."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MODAL_", "WORLDMODEL_"))}
    kept |= {"MODAL_CONFIG_PATH": "/nonexistent", "HOME": "/nonexistent", "COLUMNS": "120"} | environment
    return subprocess.run(
        [sys.executable, "-m", "modal", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept,
        timeout=120,
        check=False,
    )


# ---- the declaration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("GPU", "NOPE", "GPU 'NOPE'"),
        ("GPU", "A100-40GB,H100:8", "H100:8"),
        ("TIMEOUT_S", "100000", "a timeout of 100,000 s"),
        ("RETRIES", "50", "50 retries"),
        ("RETRIES", "many", "a number"),
        ("BUDGET_USD", "25", "11 attempts of 24 h on A100-40GB: "),
        ("GPUS", "L4", "check the name"),
    ],
)
def test_what_modal_would_not_check_is_checked(key: str, value: str, said: str) -> None:
    with pytest.raises(WrongUse, match=said.replace("(", r"\(")):
        Declaration.of({}, {f"WORLDMODEL_MODAL_{key}": value})


def test_a_declaration_goes_over_whole() -> None:
    asked = Declaration.of({}, {"WORLDMODEL_MODAL_GPU": "L4, H100!", "WORLDMODEL_MODAL_RETRIES": "0"})
    assert asked.gpus == ["L4", "H100!"]
    assert asked.worst_usd() == pytest.approx(3.95 * 24)
    assert Declaration.of({}, asked.as_environment()) == asked
    assert Declaration.of({}, {}).timeout_s == 86_400


def test_the_image_is_pinned(tmp_path: Path) -> None:
    found = pins(ROOT)
    assert any(pin.startswith("torch==") for pin in found)
    assert all("==" in pin and "+" not in pin for pin in found)
    (tmp_path / "constraints.txt").write_text("torch==9.9.9\n")
    assert "torch==9.9.9" in pins(tmp_path)


# ---- the door ----------------------------------------------------------------------------------------------------


@needs_client
def test_the_cards_words_are_understood() -> None:
    done = modal_cli("run", DOOR, "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--encoded-file", "--epochs", "--run-name", "--resume"):
        assert option in done.stdout


@needs_client
@pytest.mark.slow
def test_without_a_token_it_is_one_clear_line() -> None:
    words = ["--encoded-file", "/encoded-22k.pt", "--epochs", "3", "--run-name", "mamba2-22k-ss"]
    done = modal_cli("run", "--detach", DOOR, *words)
    assert done.returncode == 1
    assert "Token missing" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    done = modal_cli("run", DOOR, *words, WORLDMODEL_MODAL_GPU="NOPE")
    assert done.returncode == 1
    assert "worldmodel: GPU 'NOPE'; expected one of T4" in done.stderr
    assert "Traceback" not in done.stderr


@needs_client
def test_the_door_brings_no_torch_and_takes_along_what_is_no_code() -> None:
    code = (
        "import sys; from worldmodel.scripts import modal_train as door; from pathlib import Path; "
        "assert 'torch' not in sys.modules; "
        "assert not door._everything_but_bytecode(Path('experiments/tiny.yaml')); "
        "print(door.app.name, door.ASKED.timeout_s)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["melee-worldmodel", "86400"]


def test_the_command_line_does_not_bring_modal_or_wandb() -> None:
    code = (
        "import sys; import worldmodel.cli as cli; cli.make_app(); "
        "print([name for name in ('modal', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


# ---- the backend -------------------------------------------------------------------------------------------------


class FolderCloud:
    """A cloud whose volume is a folder."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.asked: list[dict[str, Any]] = []
        self.now = ("running", "")
        self.num_cancels = 0
        self.there = ["/encoded-22k.pt", "/ds"]
        self.last_words: dict[str, Any] = {}

    def require(self, declared: Declaration, name: str) -> None:
        if name not in self.there:
            raise WrongUse(f"no {name}", "a dataset", "upload it")

    def spawn(self, declared: Declaration, arguments: dict[str, Any]) -> dict[str, str]:
        self.declared = declared
        self.asked.append(arguments)
        return {"call": "fc-1", "app": "ap-1"}

    def told(self, call: str) -> dict[str, Any]:
        return self.last_words

    def state(self, call: str) -> tuple[str, str]:
        assert call == "fc-1"
        return self.now

    def fetch(self, run: RunFolder) -> None:
        for file in (self.volume / run.id).glob("*.json*"):
            shutil.copy(file, run.path / file.name)

    def logs(self, job: dict[str, str]) -> str:
        assert job["app"] == "ap-1"
        return "what it said\n"

    def cancel(self, call: str) -> None:
        self.num_cancels += 1
        self.now = ("over", "InputCancellation: ")


def remote_status(volume: Path, phase: str, reason: str | None = None) -> None:
    (volume / "r").mkdir(parents=True, exist_ok=True)
    process = {"pid": 7, "start": 1.0, "boot_id": "elsewhere", "host": "container"}
    status = {"format": 1, "phase": phase, "reason": reason, "process": process, "step": 12, "num_steps": 100}
    (volume / "r/status.json").write_text(json.dumps(status))


def test_the_backend_from_submission_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = FolderCloud(tmp_path / "volume")
    backend = Modal(cloud, look_s=0)  # type: ignore[arg-type]
    monkeypatch.setattr(board, "backend_of", lambda name: backend)
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    first = ["python", "-m", "worldmodel", "train", "mamba2-medium-gpu", "training.lr=1e-3"]
    first += ["--data", "/encoded-22k.pt", "--epochs", "3", "--into", str(run.path)]
    order = Order(backend="modal", first=first, again=["x", "--resume", str(run.path)], cwd="/")
    order = backend.submit(run, order)
    assert cloud.asked == [
        {
            "run_name": "r",
            "encoded_file": "/encoded-22k.pt",
            "epochs": 3,
            "config": "mamba2-medium-gpu",
            "overrides": '["training.lr=1e-3"]',
        }
    ]
    assert board.look(run).state == "running"
    remote_status(cloud.volume, "training")
    sight = board.look(run)
    assert (sight.state, sight.why, sight.status["step"]) == ("running", "training", 12)
    # An attempt ended at its time limit and another follows: that is no end.
    remote_status(cloud.volume, "ended", "deadline")
    assert board.look(run).state == "running"
    assert backend.logs(run, order)[0].read_text() == "what it said\n"
    assert backend.stop(run, order, wait_s=5) == "stopped"
    assert cloud.num_cancels == 1
    assert board.look(run).is_over
    assert backend.stop(run, order, wait_s=5) == "was not running"


def test_a_call_that_died_without_a_word_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = FolderCloud(tmp_path / "volume")
    backend = Modal(cloud, look_s=0)  # type: ignore[arg-type]
    monkeypatch.setattr(board, "backend_of", lambda name: backend)
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    order = backend.submit(run, Order(backend="modal", first=["train", "tiny", "--data", "/ds"], again=[], cwd="/"))
    assert (order.job["call"], order.job["app"]) == ("fc-1", "ap-1")
    cloud.now = ("over", "ModuleNotFoundError: No module named 'x'")
    sight = board.look(run)
    assert sight.is_over
    assert "ModuleNotFoundError" in sight.why


def test_what_gave_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that no attempt can mend: its line is the run's end, and the last of its log."""
    cloud = FolderCloud(tmp_path / "volume")
    backend = Modal(cloud, look_s=0)  # type: ignore[arg-type]
    monkeypatch.setattr(board, "backend_of", lambda name: backend)
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    order = backend.submit(run, Order(backend="modal", first=["train", "tiny", "--data", "/ds"], again=[], cwd="/"))
    cloud.now = ("over", "InputCancellation: ")
    cloud.last_words = {"fatal": "r exists; expected a new run name; --resume r goes on with it", "exit_code": 2}
    assert board.look(run).why.startswith("exit code 2: worldmodel: r exists")
    assert backend.logs(run, order)[0].read_text().splitlines()[-1].startswith("worldmodel: r exists")


def test_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoints are not here, and what it was asked for before is asked for again."""
    cloud = FolderCloud(tmp_path / "volume")
    backend = Modal(cloud, look_s=0)  # type: ignore[arg-type]
    monkeypatch.setattr(board, "backend_of", lambda name: backend)
    monkeypatch.setattr(start, "backend_of", lambda name: backend)
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    run.config.write_text("")
    atomic.write_json(run.provenance, {"dataset": {"path": "/data/ds"}})
    cloud.there.append("/data/ds")
    write_order(run, Order(backend="modal", first=["train"], again=["x"], cwd="/", asks={"gpu": "L4"}))
    remote_status(cloud.volume, "ended", "deadline")
    cloud.fetch(run)
    done = start.go_on(run, later=["--epochs", "4"], backend="modal", wait=False)
    asked = cloud.asked[0]
    assert (asked["resume"], asked["epochs"], asked["encoded_file"]) == ("r", 4, "/data/ds")
    assert cloud.declared.gpu == "L4"
    assert "1 attempts of 24 h on L4" in backend.describe(done.order)


def test_what_an_order_asks_is_declared(tmp_path: Path) -> None:
    """A dataset that lies here is the one of its name there, with the same content; a limit is that of all attempts."""
    dataset = tmp_path / "games"
    dataset.mkdir()
    (dataset / "manifest.json").write_text('{"content_hash": "abc"}')
    cloud = FolderCloud(tmp_path)
    cloud.there.append("/games")
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    first = ["train", "tiny", "--data", str(dataset), "--track", "required"]
    order = Order(
        backend="modal", first=first, again=[], cwd="/", retries=3, time_limit_s=7200, card_hash="c0ffee",
        asks={"gpu": "H100!", "timeout_s": "3600", "memory_mb": "1024"},
    )  # fmt: skip
    Modal(cloud).submit(run, order)  # type: ignore[arg-type]
    found = cloud.declared
    assert (found.gpu, found.timeout_s, found.memory_mb, found.retries) == ("H100!", 3600, 1024, 3)
    asked = cloud.asked[0]
    assert (asked["encoded_file"], asked["data_hash"], asked["track"]) == ("/games", "abc", "required")
    assert (asked["time_limit_s"], asked["card"]) == (7200, "c0ffee")


def test_a_dataset_that_is_not_there_is_said_before_it_is_paid_for(tmp_path: Path) -> None:
    cloud = FolderCloud(tmp_path)
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    with pytest.raises(WrongUse, match="no /other"):
        Modal(cloud).submit(  # type: ignore[arg-type]
            run, Order(backend="modal", first=["train", "tiny", "--data", "/other"], again=[], cwd="/")
        )
    assert not cloud.asked


@needs_client
def test_what_the_client_raises_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a call, an error of the way to it, and a call that goes on: a false end would be believed for ever."""
    import modal
    from modal.exception import (
        AuthError,
        ClientClosed,
        ConnectionError,
        FunctionTimeoutError,
        InputCancellation,
        InternalError,
        NotFoundError,
        OutputExpiredError,
        RemoteError,
        ServiceError,
    )

    class Call:
        def __init__(self, error: BaseException | None) -> None:
            self.error = error

        def get(self, timeout: float) -> None:
            if self.error is not None:
                raise self.error

    for state, errors in (
        ("running", [TimeoutError()]),
        ("unknown", [AuthError("x"), ConnectionError("x"), ServiceError("x"), InternalError("x"), ClientClosed()]),
        ("over", [None, FunctionTimeoutError("x"), OutputExpiredError(), InputCancellation("x"), RemoteError("x")]),
        ("over", [NotFoundError("x"), ValueError("of the training")]),
    ):
        for error in errors:
            monkeypatch.setattr(modal.FunctionCall, "from_id", lambda call, error=error: Call(error))
            assert Cloud().state("fc-1")[0] == state, error


def test_a_table_of_runs_needs_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Modal cannot be asked its runs are shown as unseen, and it is not asked again for a while."""

    class Deaf(FolderCloud):
        num_asked = 0

        def state(self, call: str) -> tuple[str, str]:
            self.num_asked += 1
            raise WrongUse("Modal without its client", "the extra", "pip install")

    cloud = Deaf(tmp_path)
    backend = Modal(cloud)  # type: ignore[arg-type]
    monkeypatch.setattr(board, "backend_of", lambda name: backend)
    monkeypatch.setattr("worldmodel.launch.modal._POLLS", {})
    run = RunFolder.create(tmp_path / "runs", experiment="x", name="r")
    backend.submit(run, Order(backend="modal", first=["train", "tiny", "--data", "/ds"], again=[], cwd="/"))
    assert [board.look(run).state for _ in range(3)] == ["unseen"] * 3
    assert cloud.num_asked == 1


def test_words_that_mean_nothing_there() -> None:
    with pytest.raises(WrongUse, match="--profile on Modal"):
        call_arguments("r", ["train", "tiny", "--profile"], False)
    with pytest.raises(WrongUse, match="--device on Modal"):
        call_arguments("r", ["train", "tiny", "--device", "cuda:1"], False)
