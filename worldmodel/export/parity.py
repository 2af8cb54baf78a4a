"""Whether a graph is the model: logits over true frames, the transition alone, the loop on its own, beside the truth.

Owns: the comparison and its limits. Must not: export, or write files.

Four questions, which one number would mix up. *Logits*: fed 600 true frames, does the graph say what the parallel form
and the step of the model say? *Transition*: from the graph's own logits, does `dynamics.step.advance` make the frame
that the graph made? *Memory*: is what the graph carries after a history what `dynamics.burn_in` returns? These three
must hold. *Loop*: fed their own frames, graph and model may part for good when two codes are all but equally likely;
so this is told, with the first frame that differs, and not judged.

Letters: S rollouts, T frames, N numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_leaves

from worldmodel.dynamics.rollout import advance_model, burn_in
from worldmodel.dynamics.step import advance
from worldmodel.export.graph import CARRIED, CONTEXT, NEXT, PADS, SAID, STATE
from worldmodel.export.runtime import Stepper, Tensors
from worldmodel.export.starts import Stretches
from worldmodel.models.base import WorldModel
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Context, Pads, State, aligned
from worldmodel.schema import LAYOUT

TOLERANCE = 1e-4
"""Of logits and steps, absolute; of what is carried, in parts of its largest number; of numbers, in their unit."""
PARTS_OF_A_NUMBER = 1e-6
"""Of a number's own size, beside `TOLERANCE`: what float32 can tell apart at all."""
STILL_THE_SAME = 1e-2
"""Of two loops that feed on themselves, in the unit: what rounding alone may grow to over hundreds of frames."""
HISTORY = 60
"""True frames that a rollout is given before it is on its own."""
FRAMES = 600
HORIZONS = (1, 10, 60, 300, 600)

SPOKEN = ("numbers", "gates", "categories", "flags")


def rows_needed(frames: int) -> int:
    """Rows of a stretch: one to begin with, the history, the frames."""
    return 1 + HISTORY + frames


# ---- between the two worlds ----------------------------------------------------------------------------------------


def tensors_of(state: State, pads: Pads, context: Context) -> Tensors:
    """Frames as a graph takes them: by name, as arrays."""
    parts = {
        **dict(zip(STATE, (state.numbers, state.categories, state.flags), strict=True)),
        **dict(zip(PADS, (pads.numbers, pads.buttons), strict=True)),
        **dict(
            zip(
                CONTEXT,
                (context.stage, context.present_numbers, context.present_categories, context.present_flags),
                strict=True,
            )
        ),
    }
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in parts.items()}


def state_of(made: Tensors) -> State:
    """The next frame of a graph's outputs."""
    return State(*(torch.from_numpy(made[NEXT + name]) for name in STATE))


def prediction_of(made: Tensors) -> Prediction:
    """What a graph said."""
    said = {name: torch.from_numpy(made[SAID + name]) for name in SPOKEN if SAID + name in made}
    return Prediction(said["numbers"], said.get("gates"), said["categories"], said["flags"])


def _spoken(prediction: Prediction) -> dict[str, Tensor]:
    parts = zip(SPOKEN, (prediction.numbers, prediction.gates, prediction.categories, prediction.flags), strict=True)
    return {name: tensor for name, tensor in parts if tensor is not None}


class _Largest:
    """Largest absolute difference of each part of predictions."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, one: Prediction, other: Prediction) -> None:
        for name, tensor in _spoken(one).items():
            gap = float((tensor.double() - _spoken(other)[name].double()).abs().max())
            # Not a number is never the smaller one.
            self.values[name] = gap if gap != gap else max(self.values.get(name, 0.0), gap)


# ---- fed with the truth --------------------------------------------------------------------------------------------


@torch.no_grad()
def fed_with_truth(model: WorldModel, graph: Stepper, stretches: Stretches, frames: int) -> dict[str, Any]:
    """Logits, transition and memory over true frames, from an empty memory. `ok`: whether all three hold."""
    previous, pads, _ = aligned(stretches.states[:, : frames + 1], stretches.pads[:, : frames + 1])
    context, batch = stretches.context, len(stretches)
    rows, _ = model.scan(previous, pads, context, model.init_state(batch))
    precise, _ = model.double().scan(previous.double(), pads.double(), context, model.init_state(batch))
    model.float()
    gaps = {name: _Largest() for name in ("graph_step", "graph_rows", "step_rows", "graph_float64", "step_float64")}
    carried, dead_rows = model.init_state(batch), model.rules.laws.mortality.nothing_seen(batch)
    inputs = graph.zeros(batch)
    transition = _Transition()
    for t in range(frames):
        inputs |= tensors_of(previous[:, t], pads[:, t], context)
        made = graph.run(inputs)
        said, (stepped, carried) = prediction_of(made), model.step(previous[:, t], pads[:, t], context, carried)
        dead_rows = model.rules.laws.mortality.count(dead_rows, previous[:, t])
        gaps["graph_step"].add(said, stepped)
        gaps["graph_rows"].add(said, rows[:, t])
        gaps["step_rows"].add(stepped, rows[:, t])
        gaps["graph_float64"].add(said, precise[:, t])
        gaps["step_float64"].add(stepped, precise[:, t])
        transition.add(state_of(made), advance(previous[:, t], said, context, model.rules, dead_rows=dead_rows))
        inputs = graph.handed_on(inputs, made, only_memory=True)
    memory = memory_gap(model, inputs, stretches, frames)
    logits = {name: {part: _plain(value) for part, value in gap.values.items()} for name, gap in gaps.items()}
    within = [value <= TOLERANCE for name in ("graph_step", "graph_rows") for value in gaps[name].values.values()]
    ok = {"logits": all(within), "transition": transition.ok, "memory": memory <= TOLERANCE}
    return {
        "frames": frames,
        "rollouts": batch,
        "tolerance": TOLERANCE,
        "logits": logits,
        "transition": transition.report(),
        "memory": _plain(memory),
        "ok": ok,
    }


def memory_gap(model: WorldModel, inputs: Tensors, stretches: Stretches, frames: int) -> float:
    """What a graph carries against what `burn_in` returns: the largest difference, in parts of the largest number."""
    carried, _ = burn_in(model, stretches.states[:, : frames + 1], stretches.pads[:, : frames + 1], stretches.context)
    gap = 0.0
    for index, leaf in enumerate(tree_leaves(carried)):
        difference = float((torch.from_numpy(inputs[f"{CARRIED}{index}"]) - leaf).abs().max())
        gap = max(gap, difference / max(1.0, float(leaf.abs().max())))
    return gap


class _Transition:
    """The frames that a graph made, against those that `advance` makes of the same logits."""

    def __init__(self) -> None:
        self._codes = self._flags = self._total_codes = self._total_flags = 0
        self._numbers = np.zeros(len(LAYOUT.numbers))
        self._inside = True

    def add(self, made: State, expected: State) -> None:
        self._codes += int((made.categories != expected.categories).sum())
        self._flags += int((made.flags != expected.flags).sum())
        self._total_codes += made.categories.numel()
        self._total_flags += made.flags.numel()
        gap = (made.numbers - expected.numbers).abs()
        self._inside &= bool((gap <= TOLERANCE + PARTS_OF_A_NUMBER * expected.numbers.abs()).all())
        self._numbers = np.maximum(self._numbers, gap.flatten(0, -2).max(0).values.numpy())

    @property
    def ok(self) -> bool:
        return not self._codes and not self._flags and self._inside

    def report(self) -> dict[str, Any]:
        return {
            "codes_equal": 1 - self._codes / max(1, self._total_codes),
            "flags_equal": 1 - self._flags / max(1, self._total_flags),
            "numbers": _by_field(self._numbers),
        }


# ---- on its own ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def dream(model: WorldModel, stretches: Stretches, frames: int) -> list[State]:
    """The model's own rollouts after the history, frame by frame, as (S,2,·)."""
    rows = 1 + HISTORY
    carried, state = burn_in(model, stretches.states[:, :rows], stretches.pads[:, :rows], stretches.context)
    made = []
    for t in range(rows, rows + frames):
        state, carried = advance_model(model, carried, state, stretches.pads[:, t], stretches.context)
        made.append(state)
    return made


def dream_of_graph(graph: Stepper, stretches: Stretches, frames: int) -> list[State]:
    """The same, by a graph alone: it consumes the history with the very step that it dreams with."""
    inputs, made = graph.zeros(len(stretches)), []
    rows = 1 + HISTORY
    for t in range(1, rows + frames):
        inputs |= (
            tensors_of(stretches.states[:, t - 1], stretches.pads[:, t], stretches.context)
            if t <= rows
            else {
                name: np.ascontiguousarray(value.numpy())
                for name, value in zip(PADS, (stretches.pads.numbers[:, t], stretches.pads.buttons[:, t]), strict=True)
            }
        )
        outputs = graph.run(inputs)
        inputs = graph.handed_on(inputs, outputs, only_memory=t < rows)
        if t >= rows:
            made.append(state_of(outputs))
    return made


def apart(made: list[State], expected: list[State]) -> dict[str, Any]:
    """Where two courses of the same rollouts part: first frames (1 is the first one made), shares, largest errors.

    By codes and flags, which is for good; and by numbers that are further apart than `STILL_THE_SAME`, which they may
    be for rounding alone.
    """
    batch = made[0].numbers.shape[0]
    by_codes: list[int | None] = [None] * batch
    by_numbers: list[int | None] = [None] * batch
    before, after = np.zeros(len(LAYOUT.numbers)), np.zeros(len(LAYOUT.numbers))
    equal = total = 0
    for t, (one, other) in enumerate(zip(made, expected, strict=True), 1):
        codes = one.categories == other.categories
        equal, total = equal + int(codes.sum()), total + codes.numel()
        gap = (one.numbers - other.numbers).abs()
        same_codes = codes.flatten(1).all(1) & (one.flags == other.flags).flatten(1).all(1)
        near = (gap <= STILL_THE_SAME + PARTS_OF_A_NUMBER * other.numbers.abs()).flatten(1).all(1)
        for s in range(batch):
            if by_codes[s] is None and not same_codes[s]:
                by_codes[s] = t
            if by_numbers[s] is None and not near[s]:
                by_numbers[s] = t
            worst = gap[s].max(0).values.numpy()
            if by_codes[s] is None:
                before = np.maximum(before, worst)
            after = np.maximum(after, worst)
    return {
        "rollouts": batch,
        "frames": len(made),
        "same_codes_to_the_end": sum(t is None for t in by_codes),
        "same_numbers_to_the_end": sum(t is None for t in by_numbers),
        "first_other_code": by_codes,
        "first_other_number": by_numbers,
        "earliest_other_code": min((t for t in by_codes if t is not None), default=None),
        "codes_equal": equal / total,
        "numbers_before_the_first_other_code": _by_field(before),
        "numbers": _by_field(after),
    }


def against_truth(dreams: Mapping[str, list[State]], stretches: Stretches) -> dict[str, Any]:
    """Errors of rollouts by horizon, of each kind, and their difference to the first kind, paired by rollout."""
    frames = len(next(iter(dreams.values())))
    names = list(dreams)
    out: dict[str, Any] = {}
    for horizon in (t for t in HORIZONS if t <= frames):
        truth = stretches.states[:, HISTORY + horizon]
        errors = {name: _errors(dreams[name][horizon - 1], truth) for name in names}
        out[str(horizon)] = {
            measure: {name: _with_difference(errors[name][measure], errors[names[0]][measure]) for name in names}
            for measure in errors[names[0]]
        }
    return out


def _errors(made: State, truth: State) -> dict[str, NDArray[np.float64]]:
    """Per rollout (S,), means over the players."""
    place = [LAYOUT.number(role) for role in ("position_x", "position_y")]
    percent, state = LAYOUT.number("percent"), LAYOUT.category("action_state")
    gap = (made.numbers - truth.numbers).double()
    values = {
        "position_distance": gap[..., place].square().sum(-1).sqrt(),
        "percent_error": gap[..., percent].abs(),
        "action_state_wrong": (made.categories[..., state] != truth.categories[..., state]).double(),
    }
    return {name: value.mean(1).numpy() for name, value in values.items()}


def _with_difference(error: NDArray[np.float64], base: NDArray[np.float64]) -> dict[str, float]:
    difference = error - base
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    return {
        "mean": float(error.mean()),
        "difference": float(difference.mean()),
        "difference_95": 1.96 * spread / len(difference) ** 0.5,
    }


@torch.no_grad()
def one_step(graph: Stepper, stretches: Stretches, frames: int) -> dict[str, float]:
    """Errors one frame ahead, fed with the truth: means over all frames after the history."""
    inputs, batch = graph.zeros(len(stretches)), len(stretches)
    state, place = LAYOUT.category("action_state"), [LAYOUT.number(r) for r in ("position_x", "position_y")]
    distance = wrong = changes = found = 0.0
    count = 0
    for t in range(1, 1 + HISTORY + frames):
        inputs |= tensors_of(stretches.states[:, t - 1], stretches.pads[:, t], stretches.context)
        made = graph.run(inputs)
        inputs = graph.handed_on(inputs, made, only_memory=True)
        if t <= HISTORY:
            continue
        guess, truth, before = state_of(made), stretches.states[:, t], stretches.states[:, t - 1]
        distance += float((guess.numbers - truth.numbers)[..., place].square().sum(-1).sqrt().sum())
        right = guess.categories[..., state] == truth.categories[..., state]
        changed = before.categories[..., state] != truth.categories[..., state]
        wrong += float((~right).sum())
        changes += float(changed.sum())
        found += float((right & changed).sum())
        count += 2 * batch
    return {
        "position_distance": distance / count,
        "action_state_wrong": wrong / count,
        "action_state_right_where_it_changes": found / max(1.0, changes),
        "changes": changes,
    }


# ---- helpers -------------------------------------------------------------------------------------------------------


def _by_field(values: NDArray[np.floating[Any]]) -> dict[str, dict[str, Any]]:
    return {
        row.name: {"largest_error": _plain(float(value)), "unit": row.unit}
        for row, value in zip(LAYOUT.numbers, values, strict=True)
    }


def _plain(value: float) -> float:
    """For JSON, which knows no infinity: a number that says as much."""
    if value != value or value in (float("inf"), float("-inf")):
        return 1e30
    return value
