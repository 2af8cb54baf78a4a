"""The present episodes of some worlds, kept as they are played: what a clip is cut from and a picture is drawn of.

Owns: the frames and pads of these episodes on the host. Must not: step a world.
"""

from __future__ import annotations

import torch

from worldmodel.clips.clip import Clip, Meta
from worldmodel.dynamics.record import clip_of
from worldmodel.env.controller import NUM_BUTTONS, NUM_PAD_NUMBERS
from worldmodel.env.matches import Matches, Outcome
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Pads, State


class Tape:
    """Of the worlds in `worlds`. Each episode costs about 1 kB a frame, on the host, until the next one begins."""

    def __init__(self, matches: Matches, worlds: tuple[int, ...]) -> None:
        outside = [world for world in worlds if not 0 <= world < matches.num_worlds]
        if outside:
            raise WrongUse(f"world {outside[0]}", f"0 to {matches.num_worlds - 1}", "record worlds that there are")
        self._matches, self._worlds = matches, worlds
        self._rows: dict[int, list[tuple[State, Pads | None]]] = {world: [] for world in worlds}

    def begin(self, state: State) -> None:
        """All matches begin, with these frames (B,2,·) in port order."""
        for world in self._worlds:
            self._rows[world] = [(_host(state, world), None)]

    def add(self, outcome: Outcome, state: State) -> None:
        """A step, and its frames (B,2,·) in port order, whoever's outcome it is."""
        if not self._worlds:
            return
        began = outcome.began.tolist()
        for world in self._worlds:
            if began[world]:
                self._rows[world] = [(_host(state, world), None)]
            else:
                pads = Pads(outcome.pads.numbers[world].cpu(), outcome.pads.buttons[world].cpu())
                self._rows[world].append((_host(state, world), pads))

    def clip(self, world: int, *, run: str | None, seed: int | None, held_by: str) -> Clip:
        """The present episode of a world, from its first frame on; in that one nobody touches a pad.

        Raises WrongUse for a world that is not recorded, or has not begun.
        """
        self._check(world)
        states = [state for state, _ in self._rows[world]]
        pressed = [pads for _, pads in self._rows[world] if pads is not None]
        nothing = Pads(torch.zeros(1, 2, NUM_PAD_NUMBERS), torch.zeros(1, 2, NUM_BUTTONS, dtype=torch.bool))
        origin = self._matches.starts.about[int(self._matches.start_numbers[world])]
        meta = Meta(
            kind="what-if",
            run=run,
            start_frame=origin.frame_id,
            seed=seed,
            temperature=self._matches.world.temperature,
            pads=held_by,
            source=origin.game_id,
        )
        return clip_of(
            State(*(torch.stack([getattr(state, name) for state in states]) for name in State.__slots__)),
            self._matches.context[world],
            meta,
            first_frame=origin.frame_id,
            pads=Pads(
                torch.cat([nothing.numbers, *(row.numbers[None] for row in pressed)]),
                torch.cat([nothing.buttons, *(row.buttons[None] for row in pressed)]),
            ),
            stage=origin.stage,
            characters=origin.characters,
        )

    def _check(self, world: int) -> None:
        if not self._rows.get(world):
            raise WrongUse(
                f"no frames of world {world}", "a recorded world after a reset", "record it, and reset first"
            )


def _host(state: State, world: int) -> State:
    return state[world].map(lambda tensor: tensor.cpu().clone())
