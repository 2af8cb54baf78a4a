"""Wrong input ends with one line that holds what was found, what was expected, and the way out; exit 2; no trace."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from worldmodel.cli import main

Prepare = Callable[[Path], list[str]]


def _missing_source(folder: Path) -> list[str]:
    return ["ingest", str(folder / "nowhere"), "--out", str(folder / "out")]


def _empty_folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["ingest", str(folder / "empty"), "--out", str(folder / "out")]


def _foreign_out(folder: Path) -> list[str]:
    (folder / "replays").mkdir()
    (folder / "replays" / "a.slp").write_bytes(b"no replay")
    (folder / "notes").mkdir()
    (folder / "notes" / "diary.txt").write_text("dear diary")
    return ["ingest", str(folder / "replays"), "--out", str(folder / "notes")]


def _unknown_filter(folder: Path) -> list[str]:
    return ["ingest", str(folder), "--out", str(folder / "out"), "--off", "idle_players"]


def _structural_filter(folder: Path) -> list[str]:
    return ["ingest", str(folder), "--out", str(folder / "out"), "--off", "not_two_players"]


def _not_a_dataset(verb: str) -> Prepare:
    def prepare(folder: Path) -> list[str]:
        (folder / "notes").mkdir()
        return {
            "stats": ["stats", str(folder / "notes")],
            "pack": ["pack", str(folder / "notes"), str(folder / "out")],
            "train": ["train", "tiny", "--data", str(folder / "notes"), "--runs", str(folder / "out")],
        }[verb]

    return prepare


def _other_schema(folder: Path) -> list[str]:
    (folder / "old").mkdir()
    manifest = {"format": "worldmodel dataset", "schema_version": 0, "store_hash": "0" * 16}
    (folder / "old" / "manifest.json").write_text(json.dumps(manifest))
    return ["stats", str(folder / "old")]


def _typo_in_config(folder: Path) -> list[str]:
    (folder / "typo.yaml").write_text("model:\n  arch: mamba2\n  n_layer: 2\n")
    return ["train", str(folder / "typo.yaml"), "--data", str(folder), "--runs", str(folder / "out")]


def _typo_in_override(folder: Path) -> list[str]:
    return ["train", "tiny", "training.learning_rat=1", "--data", str(folder), "--runs", str(folder / "out")]


def _no_such_experiment(folder: Path) -> list[str]:
    return ["train", "tinny", "--data", str(folder), "--runs", str(folder / "out")]


def _not_a_run(folder: Path) -> list[str]:
    return ["eval", str(folder)]


def _packed_garbage(folder: Path) -> list[str]:
    (folder / "archive").write_bytes(b"PK\x03\x04 and then nothing")
    return ["unpack", str(folder / "archive"), str(folder / "out")]


def _unknown_option(folder: Path) -> list[str]:
    return ["ingest", str(folder), "--outt", str(folder / "out")]


CASES: dict[str, tuple[Prepare, str]] = {
    "missing source": (_missing_source, "nowhere"),
    "empty folder": (_empty_folder, "at least one .slp"),
    "foreign out": (_foreign_out, "notes"),
    "unknown filter": (_unknown_filter, "idle_player"),
    "structural filter": (_structural_filter, "not_two_players"),
    "stats of no dataset": (_not_a_dataset("stats"), "manifest.json"),
    "pack of no dataset": (_not_a_dataset("pack"), "manifest.json"),
    "train on no dataset": (_not_a_dataset("train"), "manifest.json"),
    "other schema": (_other_schema, "ingest the replays again"),
    "typo in config": (_typo_in_config, "did you mean 'n_layers'"),
    "typo in override": (_typo_in_override, "training.learning_rat"),
    "no such experiment": (_no_such_experiment, "tiny"),
    "not a run": (_not_a_run, "run"),
    "packed garbage": (_packed_garbage, "archive"),
    "unknown option": (_unknown_option, "--out"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_one_line_and_exit_2(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare, told = CASES[case]
    arguments = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("worldmodel: ")
    assert told in lines[0]
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_a_full_disk_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("worldmodel.runs.atomic.write_bytes", full)
    assert main(["synth", "--games", "1", "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "make room" in lines[0]
