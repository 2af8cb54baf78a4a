"""The codec: frames to vectors (`Embedder`), vectors to predictions (`Heads`), and what a prediction means (`Rules`).

Owns: every number, code and flag that a network sees or says, with sizes from `LAYOUT` alone; the priors of the
schema and their exact inverse. Must not: know an architecture, a loss, or a rollout.

Head kinds. "residual": a number is its prior plus, where its gate opens, the head's output over `step_scale`; codes and
flags have one more output, "as before", added to the logit of the previous value. "card": as the mission's reference
system, each number regressed per its `reference`; no such output, and gates only where the reference had no head.

Letters: B sequences, T rows, N numbers, NG gated ones, C categories, CP predicted ones, V logits of all CP, NF flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.melee.stages import GEOMETRY
from worldmodel.nn.frames import Context, Pads, State, over_rows
from worldmodel.nn.laws import Laws
from worldmodel.nn.moves import WIDTH as MOVE_WIDTH
from worldmodel.nn.moves import MoveTable
from worldmodel.schema import CATEGORIES, LAYOUT, NUMBERS, STAGE, Field, Number, Prior

HeadKind = Literal["residual", "card"]

PREDICTED: tuple[int, ...] = tuple(index for index, codec in enumerate(CATEGORIES) if codec.predicted)
"""Positions among `LAYOUT.categories` of those that have a head."""
VOCABS: tuple[int, ...] = tuple(CATEGORIES[index].vocab for index in PREDICTED)
ELEMENTS: tuple[Field, ...] = (
    *LAYOUT.numbers,
    *(flag.field for flag in LAYOUT.flag_bits),
    *(LAYOUT.categories[index] for index in PREDICTED),
)
"""The row of each thing that has a loss: numbers, flags, predicted categories."""

STAY_PROBABILITY = 0.9
"""What an untrained residual head, and a naive model, gives to "the same code as before"."""
STAY_FLAG = 3.0
"""Logit that an untrained residual head, and a naive model, gives to "the same flag as before" (95 %)."""
NEAR = (1.0, 8.0)
"""Game units within which a landmark of the stage is near: less than a falling body moves in a frame, and more."""
REACH = (4.0, 15.0, 60.0)
"""Game units within which the other player is near: a body, an attack, a dash away."""
GATE_CLOSED = -3.0
"""Logit that an untrained residual head, and a naive model, gives to "differs from the prior" (5 %)."""


def stay_logit(vocab: int) -> float:
    """Logit of one code among `vocab`, all others at 0, that has `STAY_PROBABILITY`."""
    return log(STAY_PROBABILITY / (1 - STAY_PROBABILITY) * (vocab - 1))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of the next frame, undecoded.

    numbers (...,2,N): outputs relative to `Rules.reference`, in steps. gates (...,2,NG): logits of "differs from the
    prior", for the numbers of `Rules.gated` in that order; None if there are none. categories (...,2,V): logits, the
    predicted categories side by side, see `split_categories`. flags (...,2,NF): logits.
    """

    numbers: Tensor
    gates: Tensor | None
    categories: Tensor
    flags: Tensor

    def __getitem__(self, index: Any) -> Prediction:
        gates = None if self.gates is None else self.gates[index]
        return Prediction(self.numbers[index], gates, self.categories[index], self.flags[index])

    def split_categories(self) -> tuple[Tensor, ...]:
        """Logits (...,2,vocab) of each predicted category, in the order of `PREDICTED`."""
        return torch.split(self.categories, list(VOCABS), dim=-1)

    def code_logits(self, role: str) -> Tensor:
        """Logits (...,2,vocab) of the category with a role."""
        return self.split_categories()[PREDICTED.index(LAYOUT.category(role))]


def _row(values: Sequence[Any]) -> Tensor:
    return torch.tensor(values)


class Rules(nn.Module):
    """The schema's arithmetic on numbers for one head kind: priors, projection, and the meaning of an output.

    Holds only constants, as buffers that follow the model's device and dtype and are not saved.
    """

    def __init__(self, kind: HeadKind) -> None:
        super().__init__()
        self.kind: HeadKind = kind
        ours = [kind == "residual" or codec.reference == "prior" for codec in NUMBERS]
        gated = tuple(index for index, codec in enumerate(NUMBERS) if ours[index] and codec.gate is not None)
        self.gated: tuple[int, ...] = gated
        """Positions among the numbers of those that have a gate."""
        prior = [codec.prior if mine else Prior.COPY for codec, mine in zip(NUMBERS, ours, strict=True)]
        from_zero = [not mine and codec.reference == "value" for codec, mine in zip(NUMBERS, ours, strict=True)]
        steps = [codec.step_scale if mine else codec.scale for codec, mine in zip(NUMBERS, ours, strict=True)]
        width = max(len(codec.velocity) for codec in NUMBERS)
        moved_by = [
            [LAYOUT.number(role) for role in codec.velocity] if prior[index] is Prior.INTEGRATE else []
            for index, codec in enumerate(NUMBERS)
        ]

        def constant(name: str, value: Tensor) -> None:
            self.register_buffer(name, value, persistent=False)

        constant("scale", _row([codec.scale for codec in NUMBERS]))
        constant("steps", _row(steps))
        constant("low", _row([codec.bounds[0] for codec in NUMBERS]))
        constant("high", _row([codec.bounds[1] for codec in NUMBERS]))
        constant("integer", _row([codec.integer for codec in NUMBERS]))
        constant("keep", _row([0.0 if zero else 1.0 for zero in from_zero]))
        constant("tick_up", _row([1.0 if p is Prior.TICK_UP else 0.0 for p in prior]))
        constant("tick_down", _row([p is Prior.TICK_DOWN for p in prior]))
        restart = [codec.restart if mine else None for codec, mine in zip(NUMBERS, ours, strict=True)]
        constant("restarts", _row([role is not None for role in restart]))
        constant("restart_index", _row([LAYOUT.category(role) if role else 0 for role in restart]))
        constant("integrates", _row([bool(roles) for roles in moved_by]))
        constant("velocity_index", _row([(found + [0] * width)[:width] for found in moved_by]))
        constant(
            "velocity_weight",
            _row([[1.0] * len(found) + [0.0] * (width - len(found)) for found in moved_by]),
        )
        constant("gated_index", torch.tensor(gated, dtype=torch.int64))
        constant("is_gated", _row([index in gated for index in range(len(NUMBERS))]))
        constant("gate", _row([codec.gate or 0.0 for codec in NUMBERS]))
        constant("squared", _row([not mine for mine in ours]))  # the card's error is squared, ours is Huber's
        self.laws = Laws()
        constant("predicted_index", _row(PREDICTED))
        constant("group_EG", _row([[row.loss == group for group in LAYOUT.loss_groups] for row in ELEMENTS]))

    scale: Tensor
    steps: Tensor
    low: Tensor
    high: Tensor
    integer: Tensor
    keep: Tensor
    tick_up: Tensor
    tick_down: Tensor
    restarts: Tensor
    restart_index: Tensor
    integrates: Tensor
    velocity_index: Tensor
    velocity_weight: Tensor
    gated_index: Tensor
    is_gated: Tensor
    gate: Tensor
    squared: Tensor
    predicted_index: Tensor
    group_EG: Tensor
    """bool: which of `ELEMENTS` belong to which of `LAYOUT.loss_groups`."""

    # ---- numbers -------------------------------------------------------------------------------------------------

    def project(self, numbers: Tensor) -> Tensor:
        """Into the bounds of the schema; integers rounded."""
        inside = numbers.clamp(self.low, self.high)
        return torch.where(self.integer, inside.round(), inside)

    def still(self, previous: State, codes: Tensor) -> Tensor:
        """The reference of each number before velocities are known (...,2,N). codes: categories after the step."""
        numbers = previous.numbers
        down = (numbers - 1).clamp(min=0)
        ticked = torch.where(self.tick_down, down, numbers * self.keep + self.tick_up)
        changed = (codes != previous.categories).index_select(-1, self.restart_index)
        return torch.where(changed & self.restarts, torch.zeros_like(ticked), ticked)

    def moved(self, following: Tensor) -> Tensor:
        """What velocities *after* the step add to each position (...,2,N); 0 for all other numbers.

        Missing velocities are 0, which makes the prior of their positions a copy.
        """
        return (following[..., self.velocity_index] * self.velocity_weight).sum(-1)

    def reference(self, previous: State, following: State) -> Tensor:
        """What outputs of 0 mean (...,2,N). For "residual" heads this is the prior of the schema."""
        return self.still(previous, following.categories) + self.moved(following.numbers)

    def decode(self, previous: State, codes: Tensor, outputs: Tensor, is_open: Tensor | None) -> Tensor:
        """Numbers of the next frame (...,2,N), projected. Velocities are decoded before the positions they move.

        codes: categories of the next frame, decoded already. is_open: (...,2,NG) bool. A value that is no number falls
        back to the reference, so that a rollout cannot carry it on; the loss sees it all the same.
        """
        still = self.still(previous, codes)
        step = outputs / self.steps
        step = torch.where(step.isnan(), torch.zeros_like(step), step)
        if is_open is not None:
            step = torch.where(self.spread_gates(is_open), step, torch.zeros_like(step))
        first = self.project(still + step)
        return torch.where(self.integrates, self.project(still + self.moved(first) + step), first)

    def encode(self, previous: State, following: State) -> tuple[Tensor, Tensor]:
        """Inverse of `decode`: the outputs (...,2,N) that lead to `following`, and the difference in units."""
        difference = following.numbers - self.reference(previous, following)
        return difference * self.steps, difference

    def spread_gates(self, gates: Tensor) -> Tensor:
        """Gates (...,2,NG) bool at the places of all numbers (...,2,N); the ungated are open."""
        if len(self.gated) == len(NUMBERS):
            return gates
        everywhere = gates.new_ones(*gates.shape[:-1], len(NUMBERS))
        return everywhere.index_copy(-1, self.gated_index, gates)

    def spread_losses(self, gates: Tensor) -> Tensor:
        """Losses of gates (...,2,NG) at the places of all numbers (...,2,N); the ungated have none."""
        if len(self.gated) == len(NUMBERS):
            return gates
        return gates.new_zeros(*gates.shape[:-1], len(NUMBERS)).index_copy(-1, self.gated_index, gates)

    def pick_gated(self, numbers: Tensor) -> Tensor:
        """The gated ones (...,2,NG) among numbers (...,2,N)."""
        return numbers if len(self.gated) == len(NUMBERS) else numbers.index_select(-1, self.gated_index)

    # ---- whole frames --------------------------------------------------------------------------------------------

    def encode_state(self, previous: State, following: State) -> Prediction:
        """The prediction that decodes to `following`: gates open exactly where it differs from the reference.

        It is as sure of itself as an untrained head: the size of its logits says nothing.
        """
        outputs, difference = self.encode(previous, following)
        gates = torch.where(self.pick_gated(difference) != 0, -GATE_CLOSED, GATE_CLOSED).to(outputs.dtype)
        logits = [
            F.one_hot(following.categories[..., index], vocab).to(outputs.dtype) * stay_logit(vocab)
            for index, vocab in zip(PREDICTED, VOCABS, strict=True)
        ]
        flags = torch.where(following.flags, STAY_FLAG, -STAY_FLAG).to(outputs.dtype)
        return Prediction(outputs, gates if self.gated else None, torch.cat(logits, -1), flags)


class Embedder(nn.Module):
    """Frames and pads to vectors (...,d_model): one feature vector per frame, and a linear map.

    relative: each player's features also say where the other one is, along its own facing and up. hidden: width of a
    layer between the features and the vector, in which they act on each other; 0: none. moves: places of a table of the
    frames of moves (`nn.moves`); 0: none.
    What a replay lacks enters as 0 whatever the tensors hold, and is told apart by one bit per schema version.
    """

    def __init__(self, d_model: int, rules: Rules, *, relative: bool = False, hidden: int = 0, moves: int = 0) -> None:
        super().__init__()
        self.rules, self.relative = rules, relative
        self.codes = nn.ModuleList(nn.Embedding(codec.vocab, codec.dim) for codec in CATEGORIES)
        self.bucketed = tuple(index for index, codec in enumerate(NUMBERS) if codec.buckets)
        self.buckets = nn.ModuleList(nn.Embedding(NUMBERS[i].buckets, NUMBERS[i].bucket_dim) for i in self.bucketed)
        self.stage = nn.Embedding(STAGE.vocab, STAGE.dim)
        groups = _presence_groups()
        self.sees_more = rules.kind == "residual"
        marks = torch.tensor(_landmarks())
        self.register_buffer("marks", marks, persistent=False)
        self.register_buffer("mark_index", torch.tensor(_LANDMARK_OF), persistent=False)
        per_player = len(NUMBERS) + sum(NUMBERS[i].bucket_dim for i in self.bucketed)
        if self.sees_more:
            per_player += len(NUMBERS) + len(NEAR) * marks.shape[1]
        if relative:
            per_player += len(REACH) * len(_PLACE)
        self.moves = MoveTable(moves) if moves else None
        if moves:
            per_player += MOVE_WIDTH
        self.register_buffer("place_index", torch.tensor(_PLACE), persistent=False)
        self.register_buffer("other_index", torch.tensor([1, 0]), persistent=False)
        per_player += sum(codec.dim for codec in CATEGORIES) + len(LAYOUT.flag_bits)
        per_player += len(LAYOUT.pad_numbers) + len(LAYOUT.pad_buttons.codec.masks)  # type: ignore[union-attr]
        self.frame = nn.Linear(2 * per_player, hidden or d_model)
        self.sequence = nn.Linear(STAGE.dim + len(groups), hidden or d_model, bias=False)
        self.token = nn.Linear(hidden, d_model) if hidden else None
        widths = torch.tensor([codec.dim for codec in CATEGORIES])
        self.register_buffer("code_of_dim", torch.arange(len(CATEGORIES)).repeat_interleave(widths), persistent=False)
        self.register_buffer("group_index", torch.tensor(groups), persistent=False)
        pad = [row.codec for row in LAYOUT.pad_numbers]
        for name, values in (
            ("pad_scale", [codec.scale for codec in pad if isinstance(codec, Number)]),
            ("pad_low", [codec.bounds[0] for codec in pad if isinstance(codec, Number)]),
            ("pad_high", [codec.bounds[1] for codec in pad if isinstance(codec, Number)]),
        ):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    code_of_dim: Tensor
    group_index: Tensor
    marks: Tensor
    mark_index: Tensor
    place_index: Tensor
    other_index: Tensor
    pad_scale: Tensor
    pad_low: Tensor
    pad_high: Tensor

    def forward(self, previous: State, pads: Pads, context: Context) -> Tensor:
        """Previous states and pads now, (B,...,2,·) both -> (B,...,d_model)."""
        rules = self.rules
        numbers = previous.numbers
        dtype = self.frame.weight.dtype
        has_number = over_rows(context.present_numbers.unsqueeze(1).to(dtype), numbers)
        has_code = context.present_categories.to(dtype).index_select(-1, self.code_of_dim)
        inside = numbers.clamp(rules.low, rules.high)
        parts = [inside * (has_number * rules.scale)]
        if self.sees_more:
            # The card's scales make a walking speed 0.05, which drowns beside embeddings: the same values once more, in
            # units of a typical step and compressed, so that all are near one.
            parts.append((inside * rules.steps).asinh() * has_number)
            # Where the velocities lead, from each landmark of the stage: a death or a landing is a change of sign.
            lead = (inside + rules.moved(inside * has_number)).index_select(-1, self.mark_index)
            beyond = lead - over_rows(self.marks[context.stage].unsqueeze(1), lead)
            parts += [(beyond / near).tanh() for near in NEAR]
        if self.relative:
            parts += self._other(inside, has_number, previous.flags[..., _FACING : _FACING + 1])
        for index, table in zip(self.bucketed, self.buckets, strict=True):
            bucket = numbers[..., index].clamp(0, NUMBERS[index].buckets - 1).long()
            parts.append(table(bucket) * has_number[..., index : index + 1])
        if self.moves is not None:
            parts.append(self.moves(previous, context))
        codes = torch.cat([table(previous.categories[..., i]) for i, table in enumerate(self.codes)], -1)
        parts.append(codes * over_rows(has_code.unsqueeze(1), codes))
        parts.append(previous.flags.to(dtype) * over_rows(context.present_flags.unsqueeze(1).to(dtype), previous.flags))
        parts.append(pads.numbers.clamp(self.pad_low, self.pad_high) * self.pad_scale)
        parts.append(pads.buttons.to(dtype))
        present = torch.cat([context.present_numbers, context.present_categories, context.present_flags], -1)
        constant = torch.cat([self.stage(context.stage), present.index_select(-1, self.group_index).to(dtype)], -1)
        token: Tensor = self.frame(torch.cat(parts, -1).flatten(-2))
        token = token + over_rows(self.sequence(constant), token)
        return token if self.token is None else self.token(F.silu(token))

    def _other(self, inside: Tensor, has_number: Tensor, faces_right: Tensor) -> list[Tensor]:
        """Where velocities lead the other player, from where they lead this one: along its facing, and up."""
        lead = (inside + self.rules.moved(inside * has_number)).index_select(-1, self.place_index)
        across, up = torch.split(lead.index_select(-2, self.other_index) - lead, 1, -1)
        ahead = torch.where(faces_right, across, -across)
        away = torch.cat([ahead, up], -1)
        return [(away / reach).tanh() for reach in REACH]


_FACING = LAYOUT.flag("facing")
_ACROSS, _UP = LAYOUT.number("position_x"), LAYOUT.number("position_y")
_PLACE = (_ACROSS, _UP)
_LANDMARK_OF = [_ACROSS] * 4 + [_UP] * 6
"""Which coordinate each landmark belongs to."""


def _landmarks() -> list[list[float]]:
    """For each stage code the places that matter: blast zones and edges, then blast zones, floor and platforms.

    0 for stages whose geometry is not known; the floor stands for platforms that a stage has not.
    """
    table = [[0.0] * len(_LANDMARK_OF) for _ in range(STAGE.vocab)]
    for number, stage in GEOMETRY.items():
        heights = [platform.height for platform in stage.platforms] + [stage.floor] * 3
        across = [stage.left, stage.right, -stage.edge, stage.edge]
        table[number + STAGE.offset] = [*across, stage.top, stage.bottom, stage.floor, *heights[:3]]
    return table


def _presence_groups() -> list[int]:
    """For each Slippi version that brought codec fields: the place, among all presence bits, of the first of them."""
    rows = [*LAYOUT.numbers, *LAYOUT.categories, *(flag.field for flag in LAYOUT.flag_bits)]
    groups: dict[tuple[int, int, int], int] = {}
    for index, row in enumerate(rows):
        if row.missing != "never missing":
            groups.setdefault(row.since, index)
    return [groups[version] for version in sorted(groups)]


class Heads(nn.Module):
    """Vectors (...,d) to a `Prediction`: one linear map to all outputs of both players."""

    def __init__(self, d_in: int, rules: Rules) -> None:
        super().__init__()
        self.rules = rules
        stays = [len(VOCABS), len(LAYOUT.flag_bits)] if rules.kind == "residual" else [0, 0]
        self.sizes = [len(NUMBERS), len(rules.gated), sum(VOCABS), len(LAYOUT.flag_bits), *stays]
        self.out = nn.Linear(d_in, 2 * sum(self.sizes))
        self.register_buffer(
            "first_logit", torch.tensor([sum(VOCABS[:i]) for i in range(len(VOCABS))]), persistent=False
        )
        with torch.no_grad():
            # Untrained, a gate is closed and a step is 0: the model starts as its prior.
            numbers, gates, _, _, stay_code, stay_flag = torch.split(self.out.bias.view(2, -1), self.sizes, -1)
            numbers.zero_()
            gates.fill_(GATE_CLOSED)
            self.out.weight.view(2, -1, d_in)[:, : len(NUMBERS)].mul_(0.01)
            if rules.kind == "residual":
                stay_code.copy_(torch.tensor([stay_logit(vocab) for vocab in VOCABS]).expand_as(stay_code))
                stay_flag.fill_(STAY_FLAG)

    first_logit: Tensor

    def forward(self, hidden: Tensor, previous: State) -> Prediction:
        """hidden (...,d), and the previous states (...,2,·) that "as before" refers to."""
        out = torch.unflatten(self.out(hidden), -1, (2, -1))
        numbers, gates, codes, flags, stay_code, stay_flag = torch.split(out, self.sizes, dim=-1)
        if self.rules.kind == "residual":
            # How sure "as before" is depends on the frame: else "the body turns round" would have to be learned once
            # for each way that it may face, and rare changes never overcame the bias (measured).
            place = previous.categories.index_select(-1, self.rules.predicted_index) + self.first_logit
            codes = codes.scatter_add(-1, place, stay_code)
            flags = flags + stay_flag * (previous.flags.to(flags.dtype) * 2 - 1)
        return Prediction(numbers, gates if self.rules.gated else None, codes, flags)
