"""From a recording to the clip of a dream: what `worldmodel rollout` does, for one start or for many at once.

Owns: which rows are shown, whose pads are held, what is put beside. Must not: parse files, print.

Letters: B starts, R rows of history, T frames dreamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from worldmodel.clips.clip import Clip, Kind, Meta
from worldmodel.dynamics.policies import play, policies, policy
from worldmodel.dynamics.record import clip_of
from worldmodel.dynamics.recording import Recording, open_recording
from worldmodel.dynamics.rollout import COUNTED_ROWS
from worldmodel.dynamics.world import World
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, Pads, State

TRUE_PADS = "true"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is dreamed from a recording.

    starts: Slippi's ids of the last true frame of each dream. num_frames: frames dreamed. history: true frames before
    the start that the model is shown too, fewer where the match does not have them.
    pads: "true", the name of a policy, or a source (see `open_recording`), by itself aligned at its first frame with
    the first dreamed one, or `SOURCE@FRAME` from that frame on.
    """

    starts: Sequence[int]
    num_frames: int
    history: int
    pads: str = TRUE_PADS
    seed: int = 0


def dreams(world: World, recording: Recording, plan: Plan, meta: Meta) -> list[Clip]:
    """A clip for each start, all dreamed at once. meta: what is known besides the plan and the recording.

    Raises WrongUse for frames that the match or the pads' source does not have.
    """
    states, pads, context = recording.tensors()
    like = world.model.like
    rows = [recording.row_of(start, what="start") for start in plan.starts]
    if plan.num_frames < 1:
        raise WrongUse(f"{plan.num_frames} frames", "at least 1", "choose more")
    # Of one length, since one batch: as much history as the earliest start has.
    history = min(plan.history, min(rows))
    counted = min(max(plan.history, COUNTED_ROWS), min(rows))
    before = torch.tensor(rows)[:, None] + torch.arange(-counted, 1)
    moment = world.begin(
        _cast(states[0, before], like),
        _cast_pads(pads[0, before], like),
        _repeat(context, len(rows)).to(like.device),
        tokens=history,
    )
    held, kind = _held(pads, recording, rows, plan)
    if held is None:
        generator = torch.Generator(device=like.device).manual_seed(plan.seed)
        dreamt, held, _ = play(world, moment, policy(plan.pads), plan.num_frames, generator)
    else:
        held = _cast_pads(held, like)
        dreamt = world.rollout(moment, held)
    return [
        clip_of(
            dreamt[b],
            context,
            replace(
                meta,
                kind=kind,
                content_hash=recording.content_hash,
                start_frame=plan.starts[b],
                history=history,
                seed=plan.seed,
                temperature=world.temperature,
                pads=plan.pads,
                source=recording.name,
            ),
            first_frame=plan.starts[b] + 1,
            pads=held[b],
            truth=recording.frames[row + 1 : row + 1 + plan.num_frames] if row + 1 < len(recording) else None,
            stage=recording.stage,
            characters=recording.characters,
        )
        for b, row in enumerate(rows)
    ]


def _held(pads: Pads, recording: Recording, rows: list[int], plan: Plan) -> tuple[Pads | None, Kind]:
    """The pads of each dream (B,T,2,·), None if a policy holds them, and the clip's kind."""
    wanted = torch.arange(plan.num_frames)
    if plan.pads == TRUE_PADS:
        late = max(rows) + plan.num_frames - len(recording) + 1
        if late > 0:
            raise WrongUse(
                f"{plan.num_frames} frames after {max(plan.starts)} of {recording.name}, which ends at "
                f"{recording.last_frame}",
                "frames that the match has pads for",
                f"dream {plan.num_frames - late} frames, begin earlier, or let a policy hold the pads",
            )
        return pads[0, torch.tensor(rows)[:, None] + 1 + wanted], "dream"
    if plan.pads in policies():
        return None, "what-if"
    other, first = _source(plan.pads)
    if first + plan.num_frames > len(other):
        raise WrongUse(
            f"{plan.num_frames} frames of pads from frame {other.first_frame + first} of {other.name}",
            f"at most {len(other) - first}",
            "dream fewer frames, or take pads that begin earlier",
        )
    theirs = other.tensors()[1][0, first + wanted]
    return Pads(*(t.expand(len(rows), *t.shape) for t in (theirs.numbers, theirs.buttons))), "what-if"


def _source(text: str) -> tuple[Recording, int]:
    """Where the pads come from, and the row that drives the first dreamed frame."""
    where, at, frame = text.rpartition("@")
    if at and frame.removeprefix("-").isdecimal():
        other = open_recording(where)
        return other, other.row_of(int(frame), what="pads from frame")
    try:
        return open_recording(text), 0
    except WrongUse as error:
        raise WrongUse(
            f"pads {text!r} ({error.found})",
            f"{TRUE_PADS}, a policy ({', '.join(policies())}), a replay or a clip, FILE@FRAME",
            error.way_out,
        ) from error


def _cast(state: State, like: torch.Tensor) -> State:
    return State(state.numbers.to(like.dtype), state.categories, state.flags).to(like.device)


def _cast_pads(pads: Pads, like: torch.Tensor) -> Pads:
    return Pads(pads.numbers.to(like.dtype), pads.buttons).to(like.device)


def _repeat(context: Context, num: int) -> Context:
    return context.map(lambda tensor: tensor.expand(num, *tensor.shape[1:]))
