"""Random but possible frames for the torch rooms' tests: in bounds, lawful, often unchanged, with fields missing."""

from __future__ import annotations

import torch

from worldmodel.nn.codec import Rules
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS, STAGE

NUM_N, NUM_C, NUM_F = len(NUMBERS), len(CATEGORIES), len(LAYOUT.flag_bits)


def random_context(num_b: int, generator: torch.Generator, *, missing: bool) -> Context:
    """With `missing`, the fields of some versions are absent from some sequences (never from all of three or more)."""

    def present(rows: list) -> torch.Tensor:
        out = torch.ones(num_b, len(rows), dtype=torch.bool)
        if missing:
            for b in range(num_b):
                lacks_after = ((9, 9, 9), (0, 1, 0), (3, 0, 0))[b % 3]
                out[b] = torch.tensor([row.since <= lacks_after for row in rows])
        return out

    return Context(
        torch.randint(STAGE.vocab, (num_b,), generator=generator),
        present(list(LAYOUT.numbers)),
        present(list(LAYOUT.categories)),
        present([flag.field for flag in LAYOUT.flag_bits]),
    )


def random_frames(
    num_b: int, num_t: int, *, seed: int = 0, dtype: torch.dtype = torch.float32, missing: bool = False
) -> tuple[State, Pads, Context]:
    """States and pads (B,T,2,·). About half of all values change, a few wildly; the rest follow their prior."""
    g = torch.Generator().manual_seed(seed)
    context = random_context(num_b, g, missing=missing)
    rules = Rules("residual")
    low, high = rules.low.clamp(min=-300), rules.high.clamp(max=300)

    def fresh() -> State:
        numbers = rules.project(low + (high - low) * torch.rand(num_b, 2, NUM_N, generator=g))
        codes = [torch.randint(codec.vocab, (num_b, 2), generator=g) for codec in CATEGORIES]
        return State(numbers, torch.stack(codes, -1), torch.rand(num_b, 2, NUM_F, generator=g) < 0.5)

    def mask(state: State) -> State:
        return State(
            state.numbers * context.present_numbers[:, None],
            state.categories * context.present_categories[:, None],
            state.flags & context.present_flags[:, None],
        )

    rows = [mask(fresh())]
    for _ in range(num_t - 1):
        last, new = rows[-1], fresh()
        # The character has no head: it never changes here.
        may = torch.tensor([codec.predicted for codec in CATEGORIES])
        chosen = (torch.rand(new.categories.shape, generator=g) < 0.5) & may
        codes = torch.where(chosen, new.categories, last.categories)
        prior = rules.decode(last, codes, torch.zeros_like(last.numbers), None)
        near = rules.project(prior + torch.randn(prior.shape, generator=g) / rules.steps)
        lot = torch.rand(prior.shape, generator=g)
        numbers = torch.where(lot < 0.02, new.numbers, torch.where(lot < 0.5, near, prior))
        flags = torch.where(torch.rand(new.flags.shape, generator=g) < 0.5, new.flags, last.flags)
        rows.append(mask(rules.laws(last, State(numbers, codes, flags), context)))
    states = State(
        torch.stack([row.numbers for row in rows], 1).to(dtype),
        torch.stack([row.categories for row in rows], 1),
        torch.stack([row.flags for row in rows], 1),
    )
    num_a, num_buttons = len(LAYOUT.pad_numbers), len(LAYOUT.pad_buttons.codec.masks)
    pads = Pads(
        (torch.rand(num_b, num_t, 2, num_a, generator=g) * 2 - 1).to(dtype),
        torch.rand(num_b, num_t, 2, num_buttons, generator=g) < 0.3,
    )
    return states, pads, context
