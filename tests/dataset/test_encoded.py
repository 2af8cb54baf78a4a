"""The reference system's encoded file: written here by its documented encoding, read back as a dataset."""

from __future__ import annotations

import errno
import os
import pickle
import random
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worldmodel.cli import main
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.encoded import convert, dataset_of, open_encoded
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, Game, open_dataset
from worldmodel.dataset.torch_file import TorchFile
from worldmodel.errors import WrongUse
from worldmodel.replays.source import iter_sources
from worldmodel.schema import LAYOUT

EXACT = (
    "stocks", "combo_count", "airborne", "facing", "action_state", "jumps", "l_cancel", "hurtbox_state", "character",
    "pad.stick_x", "pad.stick_y", "pad.cstick_x", "pad.cstick_y", "pad.trigger",
)  # fmt: skip
CLOSE = ("percent", "x", "y", "shield", "self_x_air", "self_y", "self_x_ground", "knockback_x", "knockback_y", "hitlag")
MASKS = (0x0100, 0x0200, 0x0400, 0x0800, 0x0010, 0x0040, 0x0020, 0x0008)


@pytest.fixture(scope="module")
def ours(replay_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("ours") / "ds"
    ingest(iter_sources([replay_folder]), out, filters=(), min_frames=1, workers=1)
    return open_dataset(out)


def encode(game: Game, *, age_as_number: bool = False) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """By hand, column for column, as LESSONS of the reference has it; what a version lacks is 0, as it was there."""
    num = game.info["num_frames"]

    def get(name: str) -> NDArray[np.float32]:
        values = game[name] if game.present(name) else np.zeros(num)
        return np.asarray(values).astype(np.float32)

    floats, ints = [], []
    for p in ("p0", "p1"):
        floats += [get(f"{p}.percent") * 0.01, get(f"{p}.x") * 0.05, get(f"{p}.y") * 0.05, get(f"{p}.shield") * 0.01]
        floats += [get(f"{p}.{name}") * 0.05 for name in CLOSE[4:9]]
        floats += [get(f"{p}.state_age") * 0.01] if age_as_number else []
        floats += [get(f"{p}.hitlag") * 0.1, get(f"{p}.stocks") * 0.25, get(f"{p}.combo_count") * 0.1]
        floats += [get(f"{p}.facing") > 0, get(f"{p}.hurtbox_state") != 0, get(f"{p}.airborne") == 0]
        floats += [get(f"{p}.pad.{name}") / 2 + 0.5 for name in ("stick_x", "stick_y", "cstick_x", "cstick_y")]
        floats += [get(f"{p}.pad.trigger")]
        floats += [(game[f"{p}.pad.buttons"] & mask) != 0 for mask in MASKS]
        ground = np.where(get(f"{p}.ground") == 65535, 0, np.clip(get(f"{p}.ground") + 1, 0, 31))
        ints += [np.clip(get(f"{p}.action_state"), 0, 399), get(f"{p}.jumps"), get(f"{p}.character")]
        ints += [get(f"{p}.l_cancel"), get(f"{p}.hurtbox_state"), ground]
        ints += [np.clip(get(f"{p}.last_attack_landed"), 0, 63)]
        ints += [] if age_as_number else [np.clip(np.trunc(get(f"{p}.state_age")), 0, 149)]
    ints += [np.full(num, min(game.info["stage"], 32))]
    return np.stack(floats, 1).astype(np.float32), np.stack(ints, 1).astype(np.int64)


def write(path: Path, parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Path:
    lengths = [len(floats) for floats, _ in parts]
    torch.save(
        {
            "floats": torch.from_numpy(np.concatenate([floats for floats, _ in parts])),
            "ints": torch.from_numpy(np.concatenate([ints for _, ints in parts])),
            "game_offsets": torch.tensor([0, *np.cumsum(lengths)]),
            "game_lengths": lengths,
            "num_games": len(parts),
            "encoding_config": {"xy_scale": 0.05, "state_age_as_embed": True},
        },
        path,
    )
    return path


@pytest.fixture(scope="module")
def encoded(ours: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("pt") / "encoded-tiny.pt", [encode(ours.game(g)) for g in range(ours.num_games)]
    )


def test_every_field_comes_back(ours: Dataset, encoded: Path, tmp_path: Path) -> None:
    report = convert(encoded, tmp_path / "ds")
    theirs = open_dataset(tmp_path / "ds", verify=True)
    assert (report.accepted, report.rejected) == (ours.num_games, {})
    assert theirs.num_frames == ours.num_frames
    for number in range(ours.num_games):
        left, right = ours.game(number), theirs.game(number)
        for p in ("p0", "p1"):
            for name in EXACT:
                if left.present(f"{p}.{name}"):
                    np.testing.assert_array_equal(right[f"{p}.{name}"], left[f"{p}.{name}"], err_msg=name)
            for name in CLOSE:
                if left.present(f"{p}.{name}") and right.present(f"{p}.{name}"):
                    np.testing.assert_allclose(right[f"{p}.{name}"], left[f"{p}.{name}"], rtol=3e-7, atol=1e-6)
            age = np.clip(np.trunc(left[f"{p}.state_age"]), 0, 149)
            np.testing.assert_array_equal(right[f"{p}.state_age"], age)
            shown = left[f"{p}.pad.buttons"] & np.uint32(sum(MASKS))
            np.testing.assert_array_equal(right[f"{p}.pad.buttons"], shown)
        assert left.info["stage"] == right.info["stage"]
        assert left.info["p0_character"] == right.info["p0_character"]
        assert not right.present("p0.state_flags")
        assert not right.present("p0.last_hit_by")


def test_what_old_replays_lack_is_missing_again(ours: Dataset, encoded: Path, tmp_path: Path) -> None:
    convert(encoded, tmp_path / "ds")
    theirs = open_dataset(tmp_path / "ds")
    seen = set()
    for number in range(ours.num_games):
        has = ours.game(number).present("p0.self_x_air")
        seen.add(has)
        assert theirs.game(number).present("p0.self_x_air") == has
        if not ours.game(number).present("p0.hitlag"):
            assert not theirs.game(number).present("p0.hitlag")
    assert seen == {True, False}


def test_the_codes_that_a_model_sees_are_the_same(ours: Dataset, encoded: Path, tmp_path: Path) -> None:
    """Ground 65535 and unknown attacks come through the reference's own codes."""
    convert(encoded, tmp_path / "ds")
    games = np.arange(ours.num_games)
    left, right = load_block(ours, games), load_block(open_dataset(tmp_path / "ds"), games)
    both = left.present_categories & right.present_categories
    expected, ground = left.categories.copy(), LAYOUT.category("ground")
    expected[..., ground][expected[..., ground] >= 24] = 31  # the Stadium's floors: the reference has no codes for them
    same = (expected == right.categories).all(axis=1)
    frames = np.repeat(both, np.diff(left.offsets), axis=0)
    names = [row.name for row, ok in zip(LAYOUT.categories, (same | ~frames).all(axis=0), strict=True) if not ok]
    assert not names
    assert both.sum() > 0.8 * left.present_categories.sum()


def test_split_is_the_references(encoded: Path, tmp_path: Path) -> None:
    convert(encoded, tmp_path / "ds")
    dataset = open_dataset(tmp_path / "ds")
    num = int(dataset.num_games * 0.9)
    assert dataset.rows("train").tolist() == list(range(num))
    assert dataset.rows("val").tolist() == list(range(num, dataset.num_games))


def test_older_form_has_the_age_as_a_number(ours: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "old.pt", [encode(ours.game(0), age_as_number=True)])
    convert(path, tmp_path / "ds")
    found = open_dataset(tmp_path / "ds").game(0)["p0.state_age"]
    np.testing.assert_allclose(found, ours.game(0)["p0.state_age"], rtol=3e-7, atol=1e-6)


def test_converted_once_and_gone_on_with(encoded: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = dataset_of(encoded, tmp_path, say=said.append)
    before = (first / "manifest.json").stat().st_mtime_ns
    assert dataset_of(encoded, tmp_path, say=said.append) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before
    assert "no players, matches or dates" in said[0]
    assert "was converted before" in said[-1]
    assert dataset_of(first) == first
    again = convert(encoded, first)
    assert (again.accepted, again.known) == (0, again.num_games)


def test_bad_games_cost_themselves_alone(ours: Dataset, tmp_path: Path) -> None:
    parts = [encode(ours.game(number)) for number in range(4)]
    parts[1][0][5, 3] = np.nan
    parts[2][1][7, 3] = 9  # l_cancel
    report = convert(write(tmp_path / "x.pt", parts), tmp_path / "ds")
    assert (report.accepted, report.rejected) == (2, {"not_finite": 1, "out_of_vocabulary": 1})


def test_the_verb(encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(encoded), "--out", str(tmp_path / "ds")]) == 0
    assert "what such a file lacks" in capsys.readouterr().out
    assert main(["ingest", str(encoded), str(encoded), "--out", str(tmp_path / "ds")]) == 2


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_no_code_of_the_file_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"floats": _Bomb(mark)}, tmp_path / "bomb.pt")
    with pytest.raises(WrongUse, match="system, which is not data"):
        TorchFile(tmp_path / "bomb.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02(K\x03t(K\x01ttR.",
        b"ctorch\nFloatStorage\n)R.",
        b"ccollections\nOrderedDict\n(K\x01tR.",
        b"(S'storage'\nS'x'\ntQ.",
        b"",
        b"nonsense",
    ],
)
def test_hostile_pickles_are_one_line(code: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", code)
    with pytest.raises(WrongUse):
        TorchFile(tmp_path / "x.pt")


def test_wrong_files_are_one_line(encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no file"):
        open_encoded(tmp_path / "none.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"floats": 1}))
    with pytest.raises(WrongUse, match=r"torch\.save"):
        open_encoded(tmp_path / "old.pt")
    torch.save({"floats": torch.zeros(4, 138), "ints": torch.zeros(4, 17).long(), "game_offsets": torch.tensor([0, 4])},
               tmp_path / "v3.pt")  # fmt: skip
    with pytest.raises(WrongUse, match="138 floats and 17 ints v3"):
        open_encoded(tmp_path / "v3.pt")
    torch.save(torch.zeros(3), tmp_path / "t.pt")
    with pytest.raises(WrongUse, match="no 'floats'"):
        open_encoded(tmp_path / "t.pt")
    data = bytearray(encoded.read_bytes())
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(WrongUse):
        open_encoded(tmp_path / "cut.pt")
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(data)
    with pytest.raises(WrongUse, match="damaged"):
        convert(tmp_path / "flipped.pt", tmp_path / "ds")


def test_whatever_is_damaged_is_one_line(tmp_path: Path) -> None:
    """Bytes changed, or the end cut off, anywhere: in archives as torch writes them and in compressed ones."""
    torch.save({"floats": torch.zeros(40, 56), "game_lengths": [40]}, tmp_path / "stored.pt")
    with (
        zipfile.ZipFile(tmp_path / "stored.pt") as stored,
        zipfile.ZipFile(tmp_path / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    chance, refused = random.Random(0), 0
    for whole in ((tmp_path / name).read_bytes() for name in ("stored.pt", "deflated.pt")):
        for _ in range(400):
            data = bytearray(whole if chance.random() < 0.7 else whole[: chance.randrange(1, len(whole))])
            for _ in range(chance.choice((1, 2, 8))):
                data[-1 - chance.randrange(min(len(data), 900))] = chance.randrange(256)
            (tmp_path / "damaged.pt").write_bytes(data)
            with suppress(WrongUse):
                TorchFile(tmp_path / "damaged.pt").verify()
                refused -= 1
            refused += 1
    assert refused > 400, "most of it is seen"


def test_what_the_machine_cannot_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongUse, match=r"cannot be read \(Is a directory\)"):
        TorchFile(tmp_path)
    torch.save({"floats": torch.zeros(3)}, tmp_path / "a.pt")

    def broken(*_: object, **__: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = TorchFile(tmp_path / "a.pt")
    monkeypatch.setattr(zipfile.ZipExtFile, "read", broken)
    for read in (file.verify, lambda: TorchFile(tmp_path / "a.pt")):
        with pytest.raises(WrongUse, match=r"cannot be read \(Input/output error\).* its disk"):
            read()
