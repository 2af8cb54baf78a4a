"""Windows shown another way round: the players swapped, left and right mirrored. The physics does not mind either.

Owns: how frames look the other way round. Must not: know what a model does with them.

A mirrored frame is what the schema's `mirror` says of each field, the other surface of each pair of the stage
(`Stage.mirrored`), and the death at the other side. A stage that is no mirror of itself stays as it is. Swapped players
take everything with them; the one field that names a port, by whom one was hit last, names the other place: places 0
and 1 are ports 1 and 2 then, which they are in nine of ten games.

All randomness of a step is drawn for every slot of the global batch, from (seed, step), and cut to the slots at hand.

Letters: B slots at hand, T rows, N numbers, C categories, NF flags, A pad numbers, NB buttons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.dataset.codes import category_codes
from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Pads, State
from worldmodel.schema import CATEGORIES, LAYOUT, STAGE, Field
from worldmodel.schema.field import Mirror
from worldmodel.schema.laws import DEAD_LEFT, DEAD_RIGHT
from worldmodel.training.config import Experiment, Symmetry
from worldmodel.training.disturbance import Slots, step_generator

if TYPE_CHECKING:
    from worldmodel.training.batches import Batch

_STREAM = 3
"""Makes the draws others than those of the disturbances of the same (seed, step)."""

_GROUND = LAYOUT.category("ground")
_ACTION_STATE = LAYOUT.category("action_state")
_DEAD_LEFT, _DEAD_RIGHT = (state + CATEGORIES[_ACTION_STATE].offset for state in (DEAD_LEFT, DEAD_RIGHT))
"""The only action states that name a side of the stage: all others name one of the body."""
_HIT_BY = LAYOUT.category("last_hit_by")
_NUM_PORTS = 4


class Symmetries:
    """Turns windows round. A pure function of its arguments; nothing in it waits for the device."""

    def __init__(self, settings: Symmetry, *, seed: int, device: torch.device) -> None:
        self._settings, self._seed, self._device = settings, seed, device
        self._negated_N = _with(LAYOUT.numbers, Mirror.NEGATE, device)
        self._flipped_F = _with(tuple(flag.field for flag in LAYOUT.flag_bits), Mirror.FLIP, device)
        self._negated_A = _with(LAYOUT.pad_numbers, Mirror.NEGATE, device)
        self._other_SG = torch.from_numpy(_other_surfaces()).to(device)
        self._can_S = torch.from_numpy(_stages_that_mirror()).to(device)

    def apply(self, batch: Batch, *, step: int, slots: Slots) -> Batch:
        """The batch with some of its windows turned round. step: the first that the windows are good for."""
        states, pads, context = batch
        generator = step_generator(self._seed, step, self._device, stream=_STREAM)
        draws = slots.cut(torch.rand(slots.num_all, 2, generator=generator, device=self._device))
        if self._settings.swap:
            states, pads = swapped(states, pads, draws[:, 0] < self._settings.swap)
        if self._settings.mirror:
            states, pads = self.mirrored(states, pads, context.stage, draws[:, 1] < self._settings.mirror)
        return states, pads, context

    def mirrored(self, states: State, pads: Pads, stage_B: Tensor, chosen_B: Tensor) -> tuple[State, Pads]:
        """The chosen windows with left and right changed, where the stage allows it."""
        chosen = (chosen_B & self._can_S[stage_B]).view(-1, 1, 1, 1)
        ground = states.categories[..., _GROUND]
        other = self._other_SG[stage_B.view(-1, 1, 1), ground]
        categories = states.categories.clone()
        categories[..., _GROUND] = torch.where(chosen.squeeze(-1), other, ground)
        state = categories[..., _ACTION_STATE]
        by_side = (state == _DEAD_LEFT) | (state == _DEAD_RIGHT)
        categories[..., _ACTION_STATE] = torch.where(
            chosen.squeeze(-1) & by_side, _DEAD_LEFT + _DEAD_RIGHT - state, state
        )
        flags = states.flags ^ (chosen & self._flipped_F)
        return (
            State(_negated(states.numbers, chosen & self._negated_N), categories, flags),
            Pads(_negated(pads.numbers, chosen & self._negated_A), pads.buttons),
        )

    def describe(self) -> list[str]:
        """What is done, for people, before the run."""
        settings = self._settings
        stages = [stage.name for stage in GEOMETRY.values() if stage.mirrored is not None]
        lines = []
        if settings.swap:
            lines.append(f"players swapped in {settings.swap:.0%} of the windows")
        if settings.mirror:
            lines.append(f"left and right mirrored in {settings.mirror:.0%} of the windows on {', '.join(stages)}")
        return lines


def make_symmetries(experiment: Experiment, device: torch.device) -> Symmetries | None:
    """What an experiment asks for, None if for nothing."""
    settings = experiment.symmetry
    if settings is None or not (settings.swap or settings.mirror):
        return None
    return Symmetries(settings, seed=experiment.training.seed, device=device)


def swapped(states: State, pads: Pads, chosen_B: Tensor) -> tuple[State, Pads]:
    """The chosen windows with the players' places changed."""
    chosen = chosen_B.view(-1, 1, 1, 1)

    def turn(values: Tensor) -> Tensor:
        return torch.where(chosen, values.flip(-2), values)

    categories = turn(states.categories)
    hit_by = categories[..., _HIT_BY]
    place_of_other = torch.arange(1, -1, -1, device=hit_by.device)
    is_port = chosen.squeeze(-1) & (hit_by < _NUM_PORTS)
    categories[..., _HIT_BY] = torch.where(is_port, place_of_other, hit_by)
    return State(turn(states.numbers), categories, turn(states.flags)), Pads(turn(pads.numbers), turn(pads.buttons))


def _negated(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, -values, values)


def _with(rows: tuple[Field, ...], mirror: Mirror, device: torch.device) -> Tensor:
    return torch.tensor([row.mirror is mirror for row in rows], device=device)


def _stages_that_mirror() -> NDArray[np.bool_]:
    """(stage codes,) bool."""
    can = np.zeros(STAGE.vocab, bool)
    for number, stage in GEOMETRY.items():
        can[number + STAGE.offset] = stage.mirrored is not None
    return can


def _other_surfaces() -> NDArray[np.int64]:
    """(stage codes, ground codes): the code of the mirrored surface."""
    ground = LAYOUT.the("ground")
    table = np.tile(np.arange(CATEGORIES[_GROUND].vocab), (STAGE.vocab, 1))
    for number, stage in GEOMETRY.items():
        for pair in stage.mirrored or ():
            here, there = category_codes(ground, np.array(pair))[0].tolist()
            table[number + STAGE.offset, [here, there]] = there, here
    return table
