"""docs/environment.md: its code runs, its tables are whole. And the example agent finds something."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from worldmodel.cli import main
from worldmodel.env.controller import MASKS, button, pad_number
from worldmodel.env.rewards import REWARDS
from worldmodel.env.setup import Setup
from worldmodel.env.views import NUM_FLAT
from worldmodel.models.base import ModelState, NaiveModel, WorldModel, save_weights
from worldmodel.models.copy_last import Config
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import LAYOUT

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")


def test_its_code_runs(dreamer: WorldModel, tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    save_weights(dreamer, tmp_path / "weights.safetensors")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 3
    shared: dict[str, object] = {}
    for block in blocks:
        code = block.replace('"runs/tiny"', repr(str(tmp_path / "weights.safetensors")))
        assert code != block
        exec(compile(code, "environment.md", "exec"), shared)
    assert shared["picture"].shape == (320, 480, 3)  # type: ignore[attr-defined]
    assert shared["seen"].shape == (64, NUM_FLAT)  # type: ignore[attr-defined]
    assert f"(64, {NUM_FLAT})" in PAGE


def test_its_tables_are_whole() -> None:
    named = set(re.findall(r"`(\w+)`", "".join(line for line in PAGE.splitlines() if line.startswith("| `"))))
    assert set(REWARDS) | set(Setup.__annotations__) <= named


# ---- the example agent -------------------------------------------------------------------------------------------


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_agent", ROOT / "examples" / "search_agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Reach(NaiveModel):
    """A game that can be learned: bodies go where the stick points, 2 units a frame; A within 15 units hurts by 1."""

    def desired(self, previous: State) -> State:
        return previous

    def step(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        numbers = previous.numbers.clone()
        x, percent = LAYOUT.number("position_x"), LAYOUT.number("percent")
        numbers[..., x] = (numbers[..., x] + 2 * pads.numbers[..., pad_number("stick_x")]).clamp(-80, 80)
        near = (numbers[:, 0, x] - numbers[:, 1, x]).abs() < 15
        numbers[:, 1, percent] += (near & pads.buttons[:, 0, button("a")]).to(numbers.dtype)
        return self.rules.encode_state(previous, State(numbers, previous.categories, previous.flags)), state


def test_the_example_learns_a_game_that_can_be_learned() -> None:
    def search() -> tuple[list[float], torch.Tensor]:
        found: tuple[list[float], torch.Tensor] = example().search(
            Reach(Config()), num_frames=60, num_rounds=8, num_candidates=128, stages=[31]
        )
        return found

    scores, policy = search()
    assert scores[0] < 5  # of 28 that can be had
    assert scores[-1] > 12
    assert policy.shape == (6, 5 + len(MASKS))
    assert torch.equal(policy, search()[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_improves_in_a_trained_world(tmp_path: Path) -> None:
    """The main job on synthetic matches, then an agent in it."""
    replays, dataset, runs = (str(tmp_path / name) for name in ("replays", "dataset", "runs"))
    for verb in (
        ["synth", "--games", "12", "--out", replays],
        ["ingest", replays, "--out", dataset],
        ["train", "demo", "--data", dataset, "--runs", runs, "--name", "one"],
    ):
        assert main(verb) == 0, verb
    scores, _ = example().search(
        Path(runs) / "one", num_frames=90, num_rounds=6, num_candidates=192, temperature=1.0,
        dataset=dataset, num_starts=1, starts_seed=1, recorded_frames=0,
    )  # fmt: skip
    print(json.dumps(scores))
    # No stock among it: nobody dies inside the stage, and in 90 frames nobody is thrown out of it.
    assert max(scores[-2:]) > 1.3 * scores[0]
