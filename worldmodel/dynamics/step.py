"""**The one transition**: previous frame and prediction in, next frame out. Everything that rolls out calls it.

Owns: decoding of codes and flags, what is carried, and the laws of the schema. The arithmetic of numbers is
`nn.codec.Rules`, which its inverse `truth` shares. Must not: run a model, keep a state, know a metric.

Letters: B sequences, N numbers, NG gated ones, C categories, NF flags. Everything broadcasts over axes between B and
the players, so (B,2,·) and (B,T,2,·) both work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.nn.codec import CATEGORIES, PREDICTED, Prediction, Rules
from worldmodel.nn.frames import Context, State, over_rows
from worldmodel.schema import LAYOUT
from worldmodel.schema.laws import LAWS


@torch.no_grad()
def advance(
    previous: State,
    prediction: Prediction,
    context: Context,
    rules: Rules,
    *,
    temperature: float | None = None,
    generator: torch.Generator | None = None,
    dead_rows: Tensor | None = None,
) -> State:
    """The next frame (B,...,2,·). dead_rows: (B,2), how long players have been dead, if anybody counted (`Mortality`).

    In order: codes, whose change restarts counts; velocities; the positions that they move. Numbers are projected
    into bounds, integers rounded, and kept from doing what they never do in the game (`schema.laws`). Codes are the
    likeliest, flags and gates the likelier, or, with a temperature, drawn. Codes without a head (the character) and
    whatever the replay lacks stay as they were: missing numbers and flags are 0.
    """
    columns = list(previous.categories.unbind(-1))
    for index, logits in zip(PREDICTED, prediction.split_categories(), strict=True):
        code = _draw(logits, temperature, generator)
        has_code = over_rows(context.present_categories[:, index : index + 1], code)
        columns[index] = torch.where(has_code, code, columns[index])
    codes = torch.stack(columns, -1)

    gates = prediction.gates
    is_open = None if gates is None else _yes(gates, temperature, generator)
    nothing = torch.zeros_like(previous.numbers)
    has_number = over_rows(context.present_numbers.unsqueeze(1), nothing)
    # Nothing may be said of missing numbers, before decoding too: a missing velocity must not move a body.
    outputs = torch.where(has_number, prediction.numbers.to(nothing.dtype), nothing)
    numbers = rules.decode(previous, codes, outputs, is_open)
    flags = _yes(prediction.flags, temperature, generator)
    flags = flags & over_rows(context.present_flags.unsqueeze(1), flags)
    codes, numbers = rules.mortality(previous, codes, numbers, context, dead_rows)
    codes, numbers, flags = rules.footing(previous, codes, numbers, flags, context)
    numbers = torch.where(has_number, lawful(previous.numbers, numbers, codes), nothing)
    return State(numbers, codes, flags)


def lawful(before: Tensor, numbers: Tensor, codes: Tensor) -> Tensor:
    """Numbers (...,2,N) that follow those `before` as the game's laws allow. codes: categories of the same rows.

    A change past its limit is cut to it; what may fall only in a reset, falls to 0 there and nowhere else.
    """
    columns = list(numbers.unbind(-1))
    for place, max_rise, max_fall, reset_codes in _LAWS:
        was, now = before[..., place], columns[place]
        if max_rise is not None:
            now = torch.minimum(now, was + max_rise)
        if max_fall is not None:
            held = torch.maximum(now, was - max_fall)
            for code in reset_codes:
                is_reset = codes[..., _ACTION_STATE] == code
                held = torch.where(is_reset & (now < was - max_fall), torch.zeros_like(held), held)
            now = held
        columns[place] = now
    return torch.stack(columns, -1)


_ACTION_STATE = LAYOUT.category("action_state")
_LAWS = [
    (
        LAYOUT.number(law.role),
        law.max_rise,
        law.max_fall,
        [state + CATEGORIES[_ACTION_STATE].offset for state in sorted(law.resets_in)],
    )
    for law in LAWS
]
"""Plain numbers, worked out once: a compiler would else trace how they are found."""


def truth(previous: State, following: State, rules: Rules) -> Prediction:
    """The exact inverse of `advance`: the prediction of `following`, for all that has a head, in bounds and lawful."""
    return rules.encode_state(previous, following)


def _yes(logits: Tensor, temperature: float | None, generator: torch.Generator | None) -> Tensor:
    """Logits to bool: above 0, or drawn."""
    if temperature is None:
        return logits > 0
    chance = torch.rand(logits.shape, generator=generator, device=logits.device)
    return chance < (logits.float() / temperature).sigmoid()


def _draw(logits: Tensor, temperature: float | None, generator: torch.Generator | None) -> Tensor:
    """Logits (...,V) to codes (...): the likeliest, or drawn (by the Gumbel trick: no host sync)."""
    if temperature is None:
        return logits.argmax(-1)
    chance = torch.rand(logits.shape, generator=generator, device=logits.device)
    # rand may give 0, and 1 - rand never does: log stays finite.
    return (logits.float() / temperature - (-(1 - chance).log()).clamp(min=1e-30).log()).argmax(-1)
