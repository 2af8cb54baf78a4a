"""**The one transition**: previous frame and prediction in, next frame out. Everything that rolls out calls it.

Owns: decoding of codes and flags, and what is carried. The arithmetic of numbers is `nn.codec.Rules`, which its inverse
`truth` shares; the laws of the game are `nn.laws`. Must not: run a model, keep a state, know a metric.

Letters: B sequences, N numbers, NG gated ones, C categories, NF flags. Everything broadcasts over axes between B and
the players, so (B,2,·) and (B,T,2,·) both work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.nn.codec import PREDICTED, Prediction, Rules
from worldmodel.nn.frames import Context, State, over_rows


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
    into bounds, integers rounded; last, all is kept from doing what never happens in the game (`Laws`). Codes are the
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
    following: State = rules.laws(previous, State(numbers, codes, flags), context, dead_rows)
    return following


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
