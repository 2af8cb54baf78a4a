"""Events of frames on a device: the schema's rules on a state and the one after it.

Owns: how a rule reads tensors. Must not: say what an event is (that is `schema.events`). Nothing waits for the device.

Letters: B sequences, 2 players, E events in the order of `EVENTS`, or as asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from worldmodel.nn.frames import Context, State, over_rows
from worldmodel.schema import CATEGORIES, LAYOUT, Category, Flags, Number
from worldmodel.schema.events import EVENTS, Rows


class StateRows(Rows):
    """States (...,2,·) in the codec's codes. Ids of the vocabulary's last code, *other*, are not told apart."""

    def __init__(self, state: State) -> None:
        self._state = state

    def number(self, role: str) -> Tensor:
        return self._state.numbers[..., LAYOUT.number(role)]

    def flag(self, role: str) -> Tensor:
        return self._state.flags[..., LAYOUT.flag(role)]

    def action_states(self) -> Tensor:
        index = LAYOUT.category("action_state")
        return self._state.categories[..., index] - CATEGORIES[index].offset


def known_events(context: Context, names: Iterable[str] = EVENTS) -> Tensor:
    """(B,E) bool: which events each sequence's replay can tell. names: which to ask for."""
    return known_roles(context, [EVENTS[name].needs for name in names])


def known_roles(context: Context, needs: Iterable[Iterable[str]]) -> Tensor:
    """(B,X) bool: which of X rules each sequence's replay can tell. needs: roles of the fields that each reads."""
    return torch.stack([torch.stack([_present(context, role) for role in roles]).all(0) for roles in needs], -1)


def events_between(previous: State, following: State, context: Context, names: Iterable[str] = EVENTS) -> Tensor:
    """(B,...,2,E) bool: what happened in each row of `following`. The unknown is False: see `known_events`."""
    names = tuple(names)
    before, now = StateRows(previous), StateRows(following)
    happened = torch.stack([EVENTS[name].rule(before, now) for name in names], -1)
    return happened & over_rows(known_events(context, names).unsqueeze(1), happened)


def _present(context: Context, role: str) -> Tensor:
    """(B,) whether the replays have the field with a role."""
    codec = LAYOUT.the(role).codec
    if isinstance(codec, Number):
        return context.present_numbers[:, LAYOUT.number(role)]
    if isinstance(codec, Category):
        return context.present_categories[:, LAYOUT.category(role)]
    if isinstance(codec, Flags):
        return context.present_flags[:, LAYOUT.flag(role)]
    raise ValueError(f"models do not see the field with the role {role!r}")
