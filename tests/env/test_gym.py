"""Gymnasium and PettingZoo: their own checkers, and what these do not ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

import gymnasium
from fading import DEATH, LIFE, faded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pettingzoo.test import parallel_api_test
from pettingzoo.test.seed_test import parallel_seed_test

from worldmodel.clips.files import read_clip, write_clip
from worldmodel.dataset.store import Dataset
from worldmodel.env import MeleeEnv, MeleeParallelEnv, MeleeVectorEnv
from worldmodel.env.registration import ENV_ID
from worldmodel.env.views import NUM_FLAT
from worldmodel.errors import WrongUse
from worldmodel.models.base import WorldModel, save_weights
from worldmodel.schema import LAYOUT

FORMS = ("dict", "flat")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("player", [0, 1])
def test_gymnasiums_checker(dreamer: WorldModel, form: str, player: int) -> None:
    """Warnings are errors here, so that it has nothing to say at all."""
    env = gymnasium.make(
        ENV_ID, model=dreamer, player=player, observation=form, action=form, opponent="random",
        temperature=1.0, max_frames=40, render_mode="rgb_array",
    )  # fmt: skip
    check_env(env.unwrapped)


@pytest.mark.parametrize("form", FORMS)
def test_pettingzoos_checkers(dreamer: WorldModel, form: str) -> None:
    def make() -> MeleeParallelEnv:
        return MeleeParallelEnv(dreamer, observation=form, action=form, temperature=1.0, max_frames=40)

    parallel_api_test(make(), num_cycles=60)
    parallel_seed_test(make, num_cycles=30)


def test_the_schema_names_every_key(dreamer: WorldModel) -> None:
    env = MeleeEnv(dreamer)
    rows = {*LAYOUT.numbers, *LAYOUT.categories, *(flag.field for flag in LAYOUT.flag_bits), LAYOUT.the("stage")}
    assert set(env.observation_space) == {row.name for row in rows}
    assert set(env.action_space) == {*(row.name for row in LAYOUT.pad_numbers), LAYOUT.pad_buttons.name}
    assert MeleeEnv(dreamer, observation="flat").observation_space.shape == (NUM_FLAT,)


def test_a_vector_is_what_it_says_it_is(fading: WorldModel) -> None:
    """p1, who fades, is the agent: two lives and the death between them, then a first frame, and so on."""
    env = gymnasium.make_vec(
        ENV_ID, num_envs=3, vectorization_mode="vector_entry_point", model=fading, player=1, stocks=2, reward="stocks"
    )
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    seen, info = env.reset(seed=0)
    assert seen in env.observation_space
    last = LIFE + DEATH + LIFE
    for number in range(1, last + 10):
        seen, reward, terminated, truncated, info = env.step(env.action_space.sample())
        frame = number % (last + 1)
        percent, died = faded(frame)
        assert seen in env.observation_space
        assert terminated.tolist() == [frame == last] * 3
        assert info["began"].tolist() == [frame == 0] * 3
        assert reward.tolist() == [-1.0 if died else 0.0] * 3
        assert not truncated.any()
        # One's own side first.
        assert seen["percent"].tolist() == [[percent, 0.0]] * 3
    env.close()


def test_one_match_is_a_vector_of_one(dreamer: WorldModel) -> None:
    single, many = MeleeEnv(dreamer, max_frames=30), MeleeVectorEnv(dreamer, 1, max_frames=30)
    one, _ = single.reset(seed=4)
    batch, _ = many.reset(seed=4)
    for _ in range(30):
        assert all(np.array_equal(one[name], batch[name][0]) for name in one)
        action = single.action_space.sample()
        one, reward, _, truncated, _ = single.step(action)
        batch, rewards, _, truncations, _ = many.step({name: value[None] for name, value in action.items()})
        assert (reward, truncated) == (rewards[0], truncations[0])


def test_observations_are_not_written_to_again(dreamer: WorldModel) -> None:
    env = MeleeVectorEnv(dreamer, 2, max_frames=2)
    seen, _ = env.reset(seed=0)
    kept = []
    for _ in range(8):
        kept.append((seen, {name: values.copy() for name, values in seen.items()}))
        seen, *_ = env.step(env.action_space.sample())
    assert all(np.array_equal(then[name], copy[name]) for then, copy in kept for name in then)


def test_typed_and_flat_are_the_same_match(dreamer: WorldModel) -> None:
    typed, flat = MeleeEnv(dreamer, max_frames=20), MeleeEnv(dreamer, observation="flat", action="flat", max_frames=20)
    typed.reset(seed=1)
    flat.reset(seed=1)
    for _ in range(10):
        action = typed.action_space.sample()
        axes = [action[row.name] for row in LAYOUT.pad_numbers]
        seen, *_ = typed.step(action)
        vector, *_ = flat.step(np.concatenate([axes, action[LAYOUT.pad_buttons.name]]).astype(np.float32))
        codec = LAYOUT.numbers[0].codec
        assert vector[0] == np.float32(seen[LAYOUT.numbers[0].name][0]) * np.float32(codec.scale)  # type: ignore[union-attr]


def test_pictures(dreamer: WorldModel) -> None:
    env = MeleeEnv(dreamer, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (320, 480, 3)  # type: ignore[union-attr]
    assert MeleeEnv(dreamer).render() is None
    many = MeleeVectorEnv(dreamer, 2, render_mode="rgb_array", stages=["Battlefield"])
    many.reset(seed=0)
    pictures = many.render()
    assert pictures is not None
    assert len(pictures) == 2
    assert np.array_equal(pictures[0], pictures[1])


def test_clips(dreamer: WorldModel, dataset: Dataset, tmp_path: Path) -> None:
    env = MeleeEnv(dreamer, dataset=dataset, num_starts=2, history_frames=10, recorded_frames=20, opponent="replay")
    env.reset(seed=0)
    seen = [env.step(env.action_space.sample())[0] for _ in range(7)]
    clip = env.clip()
    assert len(clip) == 8
    assert clip.frames.columns["p0.x"][1:].tolist() == [float(frame["x"][0]) for frame in seen]
    start = env._side.matches.starts.about[int(env._side.matches.start_numbers[0])]
    assert (clip.first_frame, clip.characters, clip.stage) == (start.frame_id, start.characters, start.stage)
    write_clip(clip, tmp_path / "clip.json")
    assert read_clip(tmp_path / "clip.json").frames.equals(clip.frames)
    many = MeleeVectorEnv(dreamer, 3, record=(2,), max_frames=5)
    many.reset(seed=0)
    for _ in range(8):
        many.step(many.action_space.sample())
    assert len(many.clip(2)) == 3  # the third step after the one that began anew
    with pytest.raises(WrongUse, match="no frames of world 0"):
        many.clip(0)


def test_a_weights_file_is_a_model(dreamer: WorldModel, tmp_path: Path) -> None:
    save_weights(dreamer, tmp_path / "weights.safetensors")
    one, two = MeleeEnv(tmp_path / "weights.safetensors"), MeleeEnv(dreamer)
    env_seen = []
    for env in (one, two):
        env.reset(seed=3)
        env_seen.append(env.step({name: np.zeros_like(v) for name, v in env.action_space.sample().items()})[0]["x"])
    assert env_seen[0].tolist() == env_seen[1].tolist()
    with pytest.raises(WrongUse, match="no folder"):
        MeleeEnv(tmp_path / "nothing")


def test_wrong_use_is_one_line(dreamer: WorldModel) -> None:
    env = MeleeVectorEnv(dreamer, 2, action="flat")
    env.reset(seed=0)
    for wrong, words in (
        (np.zeros((2, 4)), "of shape"),
        (np.full((2, 13), np.nan), "not finite"),
    ):
        with pytest.raises(WrongUse, match=words):
            env.step(wrong)
    typed = MeleeEnv(dreamer, max_frames=1)
    with pytest.raises(WrongUse, match="outside an episode"):
        typed.step(typed.action_space.sample())
    typed.reset()
    with pytest.raises(WrongUse, match="keys stick_x"):
        typed.step({"stick_x": 0.0})
    typed.step(typed.action_space.sample())
    with pytest.raises(WrongUse, match="outside an episode"):
        typed.step(typed.action_space.sample())
    for options, words in (
        ({"observation": "pixels"}, "observation 'pixels'"),
        ({"action": "pixels"}, "action 'pixels'"),
        ({"render_mode": "human"}, "render mode 'human'"),
        ({"oponent": "random"}, "option 'oponent'"),
        ({"opponent": "replay"}, "without recorded pads"),
    ):
        with pytest.raises(WrongUse, match=words):
            MeleeEnv(dreamer, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [("gymnasium", "MeleeEnv"), ("gymnasium", "MeleeVectorEnv"), ("pettingzoo", "MeleeParallelEnv")],
)
def test_without_the_extra_there_is_one_line(missing: str, wanted: str) -> None:
    code = (
        f"import sys\nsys.modules[{missing!r}] = None\nfrom worldmodel.errors import WrongUse\nimport worldmodel.env\n"
        f"worldmodel.env.Matches\ntry:\n    worldmodel.env.{wanted}\nexcept WrongUse as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines() == [
        f"no package {missing!r}; expected it beside worldmodel, for this interface; pip install 'worldmodel[env]'"
    ]
