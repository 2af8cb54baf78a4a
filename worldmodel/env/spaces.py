"""Gymnasium's spaces of pads and of what a player sees, and the way between them and tensors.

Owns: spaces, their keys and their arrays. Must not: step, know a model.

Typed, the default: dictionaries by the schema's field names. Flat: one array of floats each.
An observation's arrays are views of the state's own memory: nothing is copied on a CPU.

Letters: B worlds, A pad numbers, NB buttons, F width of the flat observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.env.controller import NUM_BUTTONS, NUM_PAD_NUMBERS
from worldmodel.env.extra import needed
from worldmodel.env.views import FLAG_FIELDS, STAGE_ROW, Flat, flat_bounds
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import State
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS, STAGE, Number

with needed():
    from gymnasium import spaces

Form = Literal["dict", "flat"]
"""How an observation or an action is given: a dictionary by field names, or one array of floats."""
FORMS: tuple[Form, ...] = ("dict", "flat")

BUTTONS_KEY = LAYOUT.pad_buttons.name
PRESSED = 0.5
"""In a flat action a button is down past this."""

_PAD = [row.codec for row in LAYOUT.pad_numbers if isinstance(row.codec, Number)]
_PAD_LOW = np.array([codec.bounds[0] for codec in _PAD], np.float32)
_PAD_HIGH = np.array([codec.bounds[1] for codec in _PAD], np.float32)


def check_form(form: str, what: str) -> None:
    """Raises WrongUse for a form that there is not."""
    if form not in FORMS:
        raise WrongUse(f"{what} {form!r}", f"one of {', '.join(FORMS)}", "choose one of them")


def action_space(form: Form) -> spaces.Space[Any]:
    """Of one pad. Typed: a Box per axis in the schema's bounds, and the buttons. Flat: axes, then buttons, (A+NB,)."""
    check_form(form, "action")
    if form == "flat":
        low, high = np.append(_PAD_LOW, np.zeros(NUM_BUTTONS)), np.append(_PAD_HIGH, np.ones(NUM_BUTTONS))
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
    axes = {
        row.name: spaces.Box(low, high, shape=(), dtype=np.float32)
        for row, low, high in zip(LAYOUT.pad_numbers, _PAD_LOW, _PAD_HIGH, strict=True)
    }
    return spaces.Dict(axes | {BUTTONS_KEY: spaces.MultiBinary(NUM_BUTTONS)})


def observation_space(form: Form) -> spaces.Space[Any]:
    """Of what one player sees, see `views`."""
    check_form(form, "observation")
    if form == "flat":
        low, high = flat_bounds()
        return spaces.Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)
    made: dict[str, Any] = {
        row.name: spaces.Box(codec.bounds[0], codec.bounds[1], shape=(2,), dtype=np.float32)
        for row, codec in zip(LAYOUT.numbers, NUMBERS, strict=True)
    }
    made |= {
        row.name: spaces.MultiDiscrete([codec.vocab] * 2)
        for row, codec in zip(LAYOUT.categories, CATEGORIES, strict=True)
    }
    made |= {flags.field.name: spaces.MultiBinary(flags.shape) for flags in FLAG_FIELDS}
    return spaces.Dict(made | {STAGE_ROW.name: spaces.Discrete(STAGE.vocab)})


class Observer:
    """Makes observations of B worlds: a dictionary of arrays (B,2,...), or (B,F) float32."""

    def __init__(self, form: Form, device: torch.device) -> None:
        self._flat = Flat(device) if form == "flat" else None

    def __call__(self, state: State, stage_B: Tensor) -> Any:
        """state: (B,2,·), own side first."""
        if self._flat is not None:
            return self._flat(state, stage_B).cpu().numpy()
        numbers, codes = state.numbers.float().cpu().numpy(), state.categories.cpu().numpy()
        flags = state.flags.cpu().numpy().view(np.int8)
        seen: dict[str, NDArray[Any]] = {row.name: numbers[..., k] for k, row in enumerate(LAYOUT.numbers)}
        seen |= {row.name: codes[..., k] for k, row in enumerate(LAYOUT.categories)}
        for held in FLAG_FIELDS:
            one = held.end - held.begin == 1
            seen[held.field.name] = flags[..., held.begin if one else slice(held.begin, held.end)]
        return seen | {STAGE_ROW.name: stage_B.cpu().numpy().copy()}


def pads_of(actions: Any, form: Form, num_worlds: int) -> tuple[Tensor, Tensor]:
    """One side's pads (B,A) float32 and (B,NB) bool of a batch of actions. Raises WrongUse for what is no action."""
    if form == "flat":
        whole = _array(actions, "an action", (num_worlds, NUM_PAD_NUMBERS + NUM_BUTTONS))
        numbers, pressed = whole[:, :NUM_PAD_NUMBERS], whole[:, NUM_PAD_NUMBERS:] > PRESSED
    else:
        names = [row.name for row in LAYOUT.pad_numbers]
        if not isinstance(actions, Mapping) or set(actions) != {*names, BUTTONS_KEY}:
            found = f"keys {', '.join(map(str, actions))}" if isinstance(actions, Mapping) else type(actions).__name__
            raise WrongUse(f"an action of {found}", f"{', '.join(names)}, {BUTTONS_KEY}", "see action_space")
        numbers = np.stack([_array(actions[name], name, (num_worlds,)) for name in names], -1)
        pressed = _array(actions[BUTTONS_KEY], BUTTONS_KEY, (num_worlds, NUM_BUTTONS)) != 0
    return torch.from_numpy(np.ascontiguousarray(numbers)), torch.from_numpy(np.ascontiguousarray(pressed))


def batch_of_one(action: Any) -> Any:
    """One world's action as a batch."""
    if isinstance(action, Mapping):
        return {name: np.asarray(value)[None] for name, value in action.items()}
    return np.asarray(action)[None]


def only(seen: Any) -> Any:
    """The observation of the only world of a batch."""
    if isinstance(seen, dict):
        return {name: values[0] for name, values in seen.items()}
    return seen[0]


def _array(value: Any, what: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = np.asarray(value, np.float32)
    if array.shape != shape:
        raise WrongUse(f"{what} of shape {array.shape}", f"{shape}", "see action_space")
    if not np.isfinite(array).all():
        raise WrongUse(f"{what} that is not finite", "finite numbers", "look at what the agent computed")
    return array
