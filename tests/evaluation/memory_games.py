"""Held-out games without a disk: random frames in memory, and a model that knows the future."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from worldmodel.dataset.blocks import Block
from worldmodel.dynamics.events import events_between, known_events
from worldmodel.dynamics.step import truth
from worldmodel.evaluation import closed_loop, starts, teacher_forced
from worldmodel.melee.stages import GEOMETRY
from worldmodel.models.base import NaiveModel, WorldModel, make_model
from worldmodel.models.copy_last import Config
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Context, DeviceBlock, Pads, State
from worldmodel.nn.laws import Laws
from worldmodel.schema import CATEGORIES, LAYOUT, Category, Number
from worldmodel.schema.events import EVENTS
from worldmodel.schema.laws import LAWS, REBIRTH

STAGES = ("Battlefield", "Final Destination")
CHARACTERS = ("Fox", "Marth", "Falco")


_OBEYED: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
"""What was worked out before, by lengths and seed: frame by frame it takes a second."""


class MemoryDataset:
    """Random games with the surface that evaluation uses. A pad number holds each frame's index, for the oracle."""

    def __init__(self, lengths: list[int], *, seed: int = 0, absent: tuple[int, str] | None = None) -> None:
        """absent: (game, role of a number that its replay lacks)."""
        generator = np.random.default_rng(seed)
        self.path = Path("memory")
        self.content_hash = "c0ffee"
        self.num_frames_per_game = np.array(lengths, np.int64)
        total = sum(lengths)
        numbers = np.zeros((total, 2, len(LAYOUT.numbers)), np.float32)
        for k, row in enumerate(LAYOUT.numbers):
            assert isinstance(row.codec, Number)
            most = 5.0 if "velocity" in row.roles else 50.0  # nobody leaves the stage by a step of ballistics
            low, high = max(row.codec.bounds[0], -most), min(row.codec.bounds[1], most)
            walk = low + (high - low) * generator.random((total, 2))
            hold = generator.random((total, 2)) < 0.5
            for t in range(1, total):
                walk[t] = np.where(hold[t], walk[t - 1], walk[t])
            numbers[..., k] = walk.round() if row.codec.integer else walk
        lots = generator.random((total, 2))
        categories = np.zeros((total, 2, len(LAYOUT.categories)), np.int16)
        for k, row in enumerate(LAYOUT.categories):
            assert isinstance(row.codec, Category)
            codes = generator.integers(0, row.codec.vocab, (total, 2))
            if not row.codec.predicted:
                codes[:] = codes[0]
            if "action_state" in row.roles:  # deaths last: with as many as other states there would be nobody left
                codes = np.where((codes <= REBIRTH) & (lots < 0.9), codes + 100, codes)
            categories[..., k] = codes
        self._obey_laws(numbers, categories, lots)
        # Without geometry: random bodies break every law of places.
        stage = generator.choice([n for n in range(33) if n not in GEOMETRY], len(lengths))
        key = (*lengths, seed)
        if key not in _OBEYED:
            _obey_frame_by_frame(numbers, categories, np.repeat(stage, lengths), begins=np.cumsum([0, *lengths[:-1]]))
            _OBEYED[key] = numbers.copy(), categories.copy()
        numbers[:], categories[:] = _OBEYED[key]
        pads = generator.random((total, 2, len(LAYOUT.pad_numbers))).astype(np.float32)
        pads[:, :, 0] = np.arange(total)[:, None]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        present = np.ones((len(lengths), len(LAYOUT.numbers)), np.bool_)
        if absent is not None:
            game, role = absent
            present[game, LAYOUT.number(role)] = False
            numbers[offsets[game] : offsets[game + 1], :, LAYOUT.number(role)] = 0
        whole = self.whole = Block.zeros(np.arange(len(lengths)), self.num_frames_per_game)
        whole.numbers[:], whole.categories[:], whole.pad_numbers[:] = numbers, categories, pads
        whole.flags[:] = generator.integers(0, 256, whole.flags.shape)
        whole.buttons[:] = generator.integers(0, 256, whole.buttons.shape)
        whole.stage[:] = stage
        whole.present_numbers[:] = present
        whole.present_categories[:], whole.present_flags[:] = True, True
        number = range(len(lengths))
        self.games = pa.table(
            {
                "game_id": [f"{seed:04x}{i:012x}" for i in number],
                "num_frames": lengths,
                "stage_name": [STAGES[i % 2] for i in number],
                "p0_character_name": [CHARACTERS[i % 3] for i in number],
                "p1_character_name": [CHARACTERS[(i + 1) % 3] for i in number],
            }
        )
        self.splits = {"val": np.arange(len(lengths)), "train": np.arange(len(lengths))}

    @staticmethod
    def _obey_laws(numbers: np.ndarray, categories: np.ndarray, lots: np.ndarray) -> None:
        """What the game never does, no dream may do, so these games must not do it either: else no oracle is right."""
        states = categories[..., LAYOUT.category("action_state")] - CATEGORIES[LAYOUT.category("action_state")].offset
        for law in LAWS:
            values, integer = numbers[..., LAYOUT.number(law.role)], LAYOUT.the(law.role).codec.integer
            values[0] = 50
            for t in range(1, len(values)):
                step = np.where(
                    lots[t] < 0.5, 0, np.where(lots[t] < 0.6, 1 if integer else 2.5, np.where(lots[t] < 0.7, -1, 0))
                )
                low = -np.inf if law.max_fall is None else -law.max_fall
                high = np.inf if law.max_rise is None else law.max_rise
                values[t] = values[t - 1] + np.clip(step, low, high)
                resets = np.isin(states[t], list(law.resets_in)) & (lots[t] < 0.5)
                values[t] = np.where(resets, 0, np.maximum(values[t], 0))

    def rows(self, split: str = "all") -> np.ndarray:
        return self.splits[split]

    def load(self, games: np.ndarray) -> Block:
        whole = self.whole
        block = Block.zeros(np.asarray(games), self.num_frames_per_game[games])
        block.rows[:] = np.concatenate([whole.rows[whole.offsets[g] : whole.offsets[g + 1]] for g in games])
        for name in ("stage", "present_numbers", "present_categories", "present_flags"):
            getattr(block, name)[:] = getattr(whole, name)[games]
        return block

    def game(self, number: int) -> MemoryGame:
        return MemoryGame(self, number)

    def states(self) -> State:
        """All frames, (F, 2, ·)."""
        device = DeviceBlock.from_block(self.load(np.arange(len(self.num_frames_per_game))))
        parts = [
            device.gather(torch.tensor([[g, 0]]), int(n))[0].map(lambda tensor: tensor[0])
            for g, n in enumerate(self.num_frames_per_game)
        ]
        return State(*(torch.cat([getattr(p, name) for p in parts]) for name in ("numbers", "categories", "flags")))


def _obey_frame_by_frame(numbers: np.ndarray, categories: np.ndarray, stage: np.ndarray, *, begins: np.ndarray) -> None:
    """The same of all laws, which need the frame before."""
    laws = Laws()
    sizes = (len(LAYOUT.numbers), len(LAYOUT.categories), len(LAYOUT.flag_bits))
    every = [torch.ones(1, size, dtype=torch.bool) for size in sizes]
    in_the_air = torch.ones(1, 2, sizes[-1], dtype=torch.bool)
    rows = [torch.from_numpy(part) for part in (numbers, categories)]
    now = dead_rows = None
    for t in range(len(numbers)):
        fresh = State(rows[0][t : t + 1], rows[1][t : t + 1].long(), in_the_air)
        if t in begins or now is None or dead_rows is None:
            now, dead_rows = fresh, laws.mortality.nothing_seen(1)
            continue
        dead_rows = laws.mortality.count(dead_rows, now)
        now = laws(now, fresh, Context(torch.tensor([stage[t]]), *every), dead_rows)
        rows[0][t], rows[1][t] = now.numbers[0], now.categories[0].to(rows[1].dtype)


class MemoryGame:
    """A game of a `MemoryDataset`, as far as starts look into it."""

    def __init__(self, dataset: MemoryDataset, number: int) -> None:
        self.dataset, self.number = dataset, number

    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """As `dataset.events.events_of` would give them: (T,2,E) and (E,)."""
        block = DeviceBlock.from_block(self.dataset.load(np.array([self.number])))
        num = int(self.dataset.num_frames_per_game[self.number])
        states, _, context = block.gather(torch.tensor([[0, 0]]), num)
        happened = np.zeros((num, 2, len(EVENTS)), np.bool_)
        happened[1:] = events_between(states[:, :-1], states[:, 1:], context)[0].numpy()
        return happened, known_events(context)[0].numpy()


class Oracle(NaiveModel):
    """Knows every next frame, by the frame index in the pads. Its prediction is `dynamics.truth`."""

    def __init__(self, dataset: MemoryDataset) -> None:
        super().__init__(Config())
        self.frames = dataset.states()

    def desired(self, previous: State) -> State:
        raise AssertionError("the oracle answers in `forward`, where the pads tell it which frame is next")

    def forward(self, previous: State, pads: Pads, context: Context, *, loss_from: int = 0) -> Prediction:
        index = pads.numbers[..., 0, 0].long()
        prediction = truth(previous, self.frames[index], self.rules)
        return prediction[:, loss_from:] if loss_from else prediction


def naive(name: str) -> WorldModel:
    return make_model({"arch": name})


def read_from_memory(patch: pytest.MonkeyPatch) -> None:
    """Evaluation reads blocks and events from a `MemoryDataset`."""
    for module in (teacher_forced, closed_loop):
        patch.setattr(module, "load_block", lambda dataset, games: dataset.load(games))
    patch.setattr(starts, "events_of", lambda game: game.events())
