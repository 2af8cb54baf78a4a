"""The main job as a user runs it, in small: synth, ingest, stats, pack, unpack, train, eval, each with --json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldmodel.cli import main

GAMES = 15
SMALL = [
    "model.d_model=32", "model.n_layers=1", "model.d_state=8", "model.headdim=16", "data.length=32",
    "training.epochs=1", "training.batch_size=64", "training.val_windows=32",
]  # fmt: skip


class Command:
    """Runs a verb with --json and gives its exit code and its object."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        code = main([*map(str, arguments), "--json"])
        lines = self._capsys.readouterr().out.strip().splitlines()
        assert len(lines) == 1, "with --json standard output holds one object"
        return code, json.loads(lines[-1])


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_the_main_job(tmp_path: Path, command: Command) -> None:
    replays, dataset = tmp_path / "replays", tmp_path / "dataset"
    code, made = command("synth", "--games", GAMES, "--out", replays, "--max-frames", 1850)
    assert (code, made["new"]) == (0, GAMES)

    code, first = command("ingest", replays, "--out", dataset, "--workers", 1)
    assert code == 0
    assert {"accepted", "rejected", "duplicates", "frames", "seconds"} <= first.keys()
    assert first["accepted"] + sum(first["rejected"].values()) + first["duplicates"] == GAMES
    assert first["accepted"] == GAMES

    code, again = command("ingest", replays, "--out", dataset, "--workers", 1)
    assert (again["accepted"], again["known"], again["content_hash"]) == (0, GAMES, first["content_hash"])

    code, found = command("stats", dataset, "--verify")
    assert (code, found["num_frames"]) == (0, first["frames"])

    code, packed = command("pack", dataset, tmp_path / "packed")
    code, unpacked = command("unpack", tmp_path / "packed", tmp_path / "copy")
    assert (code, unpacked["content_hash"]) == (0, first["content_hash"])
    assert packed["bytes_per_frame"] < 30

    code, run = command("train", "tiny", *SMALL, "--data", tmp_path / "copy", "--runs", tmp_path / "runs")
    assert (code, run["reason"]) == (0, "finished")
    assert run["step"] == run["num_steps"] > 0

    code, judged = command("eval", run["run"], "--data", dataset, "--rollouts", 20, "--max-frames", 2000)
    assert code == 0
    assert judged["held_out"]
    assert Path(judged["report"]).read_text().startswith("<!doctype html>")
    assert {line["name"] for line in judged["headlines"]} >= {"change_acc", "pos_mae", "loss/total"}


def test_a_game_kept_by_no_filter_is_said(tmp_path: Path, command: Command) -> None:
    (tmp_path / "page.slp").write_text("<html>not found</html>")
    code, report = command("ingest", tmp_path / "page.slp", "--out", tmp_path / "dataset", "--workers", 1)
    assert code == 0
    assert (report["accepted"], report["rejected"]) == (0, {"not_slippi": 1})
    assert main(["stats", str(tmp_path / "dataset")]) == 1


def test_filters_are_listed(command: Command) -> None:
    code, filters = command("ingest", "--list-filters")
    assert code == 0
    assert filters["not_two_players"] == "always on"
    assert filters["unnatural_end"] == "off"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    for verb in ("ingest", "synth", "stats", "pack", "unpack", "train", "eval", "demo"):
        assert verb in text
