"""Recordings: every source gives the same frames, and tensors go to clips and back without loss."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from frames_at_random import random_frames

from worldmodel.clips.clip import COLUMNS, Clip, Meta
from worldmodel.clips.files import write_clip
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.ingest import ingest
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dynamics.dream import Plan, dreams
from worldmodel.dynamics.record import clip_of, frames_of, tensors_of
from worldmodel.dynamics.recording import open_recording
from worldmodel.dynamics.world import World
from worldmodel.errors import WrongUse
from worldmodel.models.base import make_model
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State
from worldmodel.replays.source import iter_sources
from worldmodel.replays.synth.generate import write_games

SMALL = {"arch": "mamba2", "d_model": 32, "n_layers": 2, "d_state": 8, "headdim": 16}
Frames3 = tuple[State, Pads, Context]


def assert_same(one: Frames3, other: Frames3) -> None:
    for a, b in zip(one, other, strict=True):
        for name in a.__slots__:
            assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replays")
    write_games(folder / "synth", 3, seed=5)
    return folder / "synth"


@pytest.fixture(scope="module")
def dataset(replays: Path) -> Dataset:
    ingest(iter_sources([replays]), replays.parent / "dataset", workers=1, filters=(), min_frames=1)
    return open_dataset(replays.parent / "dataset")


def slp_files(replays: Path) -> list[Path]:
    return sorted(replays.rglob("*.slp"))


def of_block(dataset: Dataset, game: int) -> Frames3:
    block = DeviceBlock.from_block(load_block(dataset, [game]))
    return block.gather(torch.tensor([[0, 0]]), int(dataset.num_frames_per_game[game]))


def test_every_source_gives_the_frames_that_models_are_trained_on(replays: Path, dataset: Dataset) -> None:
    assert dataset.num_games == 3
    for game in range(dataset.num_games):
        one = open_recording(f"{dataset.path}:{game}")
        assert_same(one.tensors(), of_block(dataset, game))
        info = dataset.game(game).info
        again = open_recording(f"{dataset.path}:{info['game_id']}")
        file = next(file for file in slp_files(replays) if info["name"].endswith(file.name))
        alone = open_recording(str(file))
        for other in (again, alone):
            assert other.frames.equals(one.frames)
            assert (other.stage, other.characters, other.first_frame) == (one.stage, one.characters, -123)
        assert one.content_hash == dataset.content_hash
        assert one.split == info["split"]


def test_members_of_archives_and_clips(replays: Path, tmp_path: Path) -> None:
    files = slp_files(replays)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for file in files[:2]:
            archive.write(file, file.name)
    one = open_recording(str(files[1]))
    assert open_recording(f"{tmp_path / 'two.zip'}:{files[1].name}").frames.equals(one.frames)
    with pytest.raises(WrongUse, match="2 replays"):
        open_recording(str(tmp_path / "two.zip"))
    with pytest.raises(WrongUse, match="0 members"):
        open_recording(f"{tmp_path / 'two.zip'}:nothing.slp")
    clip = Clip(
        stage=one.stage, characters=one.characters, first_frame=-123, frames=one.frames, meta=Meta(kind="replay")
    )
    write_clip(clip, tmp_path / "clip.json")
    assert_same(open_recording(str(tmp_path / "clip.json")).tensors(), one.tensors())


def test_what_is_no_recording_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "text.slp").write_text("no replay")
    for where in (
        str(tmp_path),
        str(tmp_path / "nothing.slp"),
        str(tmp_path / "text.slp"),
        str(dataset.path),
        f"{dataset.path}:99",
        f"{dataset.path}:-1",
        f"{dataset.path}:nobody",
    ):
        with pytest.raises(WrongUse):
            open_recording(where)


@pytest.mark.replays
def test_real_games_go_to_clips_and_back(real_replays) -> None:
    """Every value of every column, but buttons that no model sees and codes that stand for many values."""
    files = sorted((real_replays / "train").rglob("*.slp"))
    for file in files[::40]:
        recording = open_recording(str(file))
        states, pads, context = recording.tensors()
        frames = frames_of(states[0], context, pads[0])
        assert_same(tensors_of(frames, recording.stage), (states, pads, context))
        assert frames.columns.keys() == recording.frames.columns.keys()
        for column in COLUMNS:
            if "buttons" in column.field.roles or column.name not in frames.columns:
                continue
            known = ~frames.unknown.get(column.name, np.zeros(len(frames), np.bool_))
            assert np.array_equal(frames.columns[column.name][known], recording.frames.columns[column.name][known])


def test_random_frames_go_to_clips_and_back() -> None:
    """Any codes, with fields missing: what a clip says is what the tensors said."""
    states, pads, context = random_frames(6, 20, missing=True)
    for b in range(6):
        clip = clip_of(
            states[b], context[b : b + 1], Meta(kind="dream"), first_frame=7, pads=pads[b], characters=(2, 2)
        )
        back = tensors_of(clip.frames, clip.stage)
        if context.stage[b] < 32:  # the last code stands for many stages
            assert_same(back, tuple(part[b : b + 1] for part in (states, pads, context)))


# ---- dreams ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> World:
    torch.manual_seed(0)
    return World(make_model(SMALL))


def test_a_dream_is_the_rollout_beside_the_truth(world: World, dataset: Dataset) -> None:
    recording = open_recording(f"{dataset.path}:0")
    clips = dreams(world, recording, Plan([100, 200], 30, history=8), Meta(kind="dream", run="r"))
    states, pads, context = of_block(dataset, 0)
    for clip, start in zip(clips, (100, 200), strict=True):
        row = start + 123
        moment = world.begin(states[:, row - 8 : row + 1], pads[:, row - 8 : row + 1], context)
        alone = world.rollout(moment, pads[:, row + 1 : row + 31])
        dreamt, held, _ = tensors_of(clip.frames, clip.stage)
        torch.testing.assert_close(dreamt.numbers, alone.numbers, rtol=1e-4, atol=1e-4)
        assert torch.equal(held.numbers, pads[:, row + 1 : row + 31].numbers)
        assert (clip.first_frame, clip.stage) == (start + 1, recording.stage)
        assert clip.truth is not None
        assert clip.truth.equals(recording.frames[row + 1 : row + 31])
        assert (clip.meta.start_frame, clip.meta.history, clip.meta.pads, clip.meta.kind) == (start, 8, "true", "dream")
        assert clip.meta.content_hash == dataset.content_hash


def test_a_dream_on_the_last_stage(world: World, dataset: Dataset) -> None:
    """The code of Final Destination stands for all later ids too, but a dream's stage is known."""
    recording = replace(open_recording(f"{dataset.path}:0"), stage=32)
    (clip,) = dreams(world, recording, Plan([100], 5, history=8), Meta(kind="dream"))
    assert clip.stage == 32


def test_other_pads(world: World, dataset: Dataset) -> None:
    recording, other = (open_recording(f"{dataset.path}:{game}") for game in (0, 1))
    theirs = other.tensors()[1]

    def dream(pads: str, frames: int = 20, seed: int = 0) -> Clip:
        return dreams(world, recording, Plan([100], frames, 8, pads, seed), Meta(kind="dream"))[0]

    def held(clip: Clip) -> torch.Tensor:
        return tensors_of(clip.frames, clip.stage)[1].numbers[0]

    where = f"{dataset.path}:1"
    assert torch.equal(held(dream(where)), theirs.numbers[0, :20])
    assert torch.equal(held(dream(f"{where}@50")), theirs.numbers[0, 173:193])
    assert not held(dream("neutral")).any()
    assert torch.equal(held(dream("random", seed=1)), held(dream("random", seed=1)))
    assert not torch.equal(held(dream("random", seed=1)), held(dream("random", seed=2)))
    assert dream("neutral").meta.kind == "what-if"
    end = recording.last_frame
    late = dreams(world, recording, Plan([end - 3], 20, 8, "neutral"), Meta(kind="dream"))[0]
    assert late.truth is not None
    assert len(late.truth) == 3
    assert dreams(world, recording, Plan([end], 5, 8, "neutral"), Meta(kind="dream"))[0].truth is None
    first = dreams(world, recording, Plan([-123], 5, 8), Meta(kind="dream"))[0]
    assert first.meta.history == 0
    for pads, frames in (("nobody", 20), (f"{where}@99999999", 20), (where, 10**6), ("true", 10**6)):
        with pytest.raises(WrongUse):
            dream(pads, frames)
    for start in (-124, end + 1):
        with pytest.raises(WrongUse):
            dreams(world, recording, Plan([start], 5, 8, "neutral"), Meta(kind="dream"))
