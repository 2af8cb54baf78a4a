"""A dream on demand: what a page asks for, computed as `worldmodel rollout` does.

Owns: which pads are held, the bounds, what is told beside the clip. Must not: be another transition, or read a source
of pads by its path (a page may name a policy, or send the pads themselves).

Letters: T frames, P players.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from worldmodel.clips.clip import BY_NAME, Clip, Frames, Kind, Meta, dtype_of
from worldmodel.clips.errors import errors_of
from worldmodel.clips.files import clip_json
from worldmodel.dynamics.chosen import Chosen, choose_model
from worldmodel.dynamics.policies import play, policies, policy
from worldmodel.dynamics.record import clip_of, tensors_of
from worldmodel.dynamics.recording import Recording
from worldmodel.dynamics.rollout import COUNTED_ROWS
from worldmodel.dynamics.world import World
from worldmodel.evaluation.dreams import facts
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.strict import Strict
from worldmodel.schema import LAYOUT, PLAYERS, Scope, column_name
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.training.config import load_experiment
from worldmodel.web.answers import Refused, encode

MAX_FRAMES = 1_800
"""Half a minute: some seconds of work."""
MAX_HISTORY = 600
_NUM_MODELS = 2
TRUE_PADS = "true"


class TakenPads(Strict):
    """Pads that somebody held in the page: of one player, from the first dreamed frame on, a list per pad column by its
    clip's name. Where lists end, nobody touches the pad."""

    columns: dict[str, list[float]] = Field(max_length=len(BY_NAME))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page asks for. start: row of the last true frame. pads: "true" or a policy; players: whose pads are not
    the replay's (their indices). taken: pads held in the page, instead of a policy, of the one player in `players`."""

    start: int
    num_frames: int
    pads: str
    players: tuple[int, ...]
    temperature: float | None
    seed: int
    taken: str = ""


class Models:
    """Models of runs, the last used kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[Chosen, int]] = OrderedDict()

    def of(self, run: RunFolder) -> tuple[Chosen, int]:
        """The newest whole weights of a run, and how many frames it was trained to be shown. Raises WrongUse."""
        key = (run.path, *(checkpoint.path.name for checkpoint in run.all_checkpoints()))
        if key not in self._kept:
            chosen = choose_model(run.path)
            self._kept[key] = (chosen, load_experiment(run.config).data.length)
            while len(self._kept) > _NUM_MODELS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def dream(chosen: Chosen, history: int, recording: Recording, wish: Wish) -> bytes:
    """{clip, errors, per_frame, contradictions, notes} as JSON. Raises Refused for frames that the match has not."""
    history = min(history, MAX_HISTORY, wish.start)
    counted = min(max(history, COUNTED_ROWS), wish.start)
    cut = recording.frames[wish.start - counted : wish.start + 1 + wish.num_frames]
    states, pads, context = replace(recording, frames=cut).tensors()
    like = chosen.model.like
    states = State(states.numbers.to(like.dtype), states.categories, states.flags)
    pads = Pads(pads.numbers.to(like.dtype), pads.buttons)
    world = World(chosen.model, temperature=wish.temperature, seed=wish.seed)
    row = counted
    held, kind = _held(pads[:, row + 1 :], wish)
    begin = slice(0, row + 1)
    moment = world.begin(states[:, begin], pads[:, begin], context, tokens=history)
    if wish.pads != TRUE_PADS and not wish.taken:
        generator = torch.Generator(device=like.device).manual_seed(wish.seed)
        rule, whose = policy(wish.pads), torch.tensor([player in wish.players for player in range(len(PLAYERS))])

        def hold(state: State, frames: Tensor, generator: torch.Generator) -> Pads:
            mine, true = rule(state, frames, generator), held[:, int(frames[0])]
            return Pads(
                torch.where(whose[:, None], mine.numbers, true.numbers),
                torch.where(whose[:, None], mine.buttons, true.buttons),
            )

        dreamt, held, _ = play(world, moment, hold, wish.num_frames, generator)
    else:
        dreamt = world.rollout(moment, held)
    truth = recording.frames[wish.start + 1 : wish.start + 1 + wish.num_frames]
    meta = Meta(
        kind=kind, run=chosen.run, weights_sha256=chosen.sha256, content_hash=recording.content_hash,
        start_frame=recording.first_frame + wish.start, history=history, seed=wish.seed, temperature=wish.temperature,
        pads=_pads_in_words(wish), source=recording.name,
    )  # fmt: skip
    clip = clip_of(
        dreamt[0], context, meta, first_frame=recording.first_frame + wish.start + 1, pads=held[0],
        truth=truth if len(truth) else None, stage=recording.stage, characters=recording.characters,
    )  # fmt: skip
    before = recording.frames[wish.start : wish.start + 1]
    notes = list(chosen.problems)
    if recording.split == "train":
        notes.append("this is a game that models are trained on")
    told = {
        "errors": [asdict(error) for error in errors_of(clip, before)],
        "per_frame": per_frame(clip),
        "contradictions": _contradictions(dreamt, states[:, row], context),
        "notes": notes,
    }
    return b'{"clip":' + clip_json(clip) + b"," + encode(told)[1:]


def _held(true: Pads, wish: Wish) -> tuple[Pads, Kind]:
    """The pads of the dreamed frames (1,T,2,·), as far as they are known before the dream, and the clip's kind."""
    missing = wish.num_frames - true.numbers.shape[1]
    if missing and wish.pads == TRUE_PADS and not wish.taken:
        known = wish.num_frames - missing
        raise Refused(400, f"{wish.num_frames} frames after frame {wish.start}, and the game has pads for {known}")
    numbers = torch.cat([true.numbers, true.numbers.new_zeros(1, missing, *true.numbers.shape[2:])], 1)
    buttons = torch.cat([true.buttons, true.buttons.new_zeros(1, missing, *true.buttons.shape[2:])], 1)
    if wish.taken:
        (player,) = wish.players
        mine = _taken(wish, player)
        numbers[:, :, player], buttons[:, :, player] = mine.numbers[:, :, player], mine.buttons[:, :, player]
    return Pads(numbers, buttons), "dream" if wish.pads == TRUE_PADS and not wish.taken else "what-if"


def _taken(wish: Wish, player: int) -> Pads:
    """The pads that the page sent. Raises Refused."""
    try:
        sent = TakenPads.model_validate_json(wish.taken).columns
    except ValidationError as error:
        raise Refused(400, f"the pads: {error.errors()[0]['msg']}") from None
    columns = {}
    for row in (*LAYOUT.pad_numbers, LAYOUT.pad_buttons):
        name = column_name(row, PLAYERS[player])
        values = np.zeros(wish.num_frames, np.float64)
        given = sent.pop(name, [])[: wish.num_frames]
        values[: len(given)] = given
        low, high = (0.0, 2.0**32 - 1) if row is LAYOUT.pad_buttons else cast(Any, row.codec).bounds
        if not np.isfinite(values).all() or (values < low).any() or (values > high).any():
            raise Refused(400, f"the pads: {name} is not between {low:g} and {high:g}")
        columns[name] = values.astype(dtype_of(BY_NAME[name]))
        columns[column_name(row, PLAYERS[1 - player])] = np.zeros_like(columns[name])
    if sent:
        raise Refused(400, f"the pads: {next(iter(sent))[:40]!r} is no pad column of p{player}")
    return tensors_of(Frames(columns), _ANY_STAGE)[1]


_ANY_STAGE = 2
"""Pads do not depend on it."""


def _pads_in_words(wish: Wish) -> str:
    who = " and ".join(f"p{player}" for player in wish.players)
    if wish.taken:
        return f"{who}: held in the page"
    return wish.pads if wish.pads == TRUE_PADS or len(wish.players) == len(PLAYERS) else f"{who}: {wish.pads}"


def per_frame(clip: Clip) -> dict[str, Any]:
    """By frame, as far as there is a truth: `position`, `percent`: per player a list of distances (null: not recorded);
    `same_action`: per player a list of 0 and 1; `differing`: by column name, the ranges [first, last] of frames in
    which the dreamed value is another than the true one (numbers: by more than a thousandth of their size and of 1).
    """
    truth = clip.truth
    if truth is None:
        return {"num_frames": 0}
    num, frames = len(truth), clip.frames

    def apart(role: str, player: str) -> Any:
        name = column_name(LAYOUT.the(role), player)
        if name not in frames.columns or name not in truth.columns:
            return None
        return frames.columns[name][:num].astype(np.float64) - truth.columns[name].astype(np.float64)

    def rounded(values: Any) -> list[float] | None:
        return None if values is None else np.round(values, 4).tolist()

    position, percent, action = [], [], []
    for player in PLAYERS:
        x, y = apart("position_x", player), apart("position_y", player)
        position.append(rounded(None if x is None or y is None else np.hypot(x, y)))
        gap, state = apart("percent", player), apart("action_state", player)
        percent.append(rounded(None if gap is None else np.abs(gap)))
        action.append(None if state is None else (state == 0).astype(int).tolist())
    differing = {}
    for name in frames.columns.keys() & truth.columns.keys():
        if BY_NAME[name].field.scope is Scope.PAD:
            continue
        one, other = (f.columns[name][:num].astype(np.float64) for f in (frames, truth))
        wrong = np.abs(one - other) > 1e-3 * np.maximum(1.0, np.abs(other))
        if wrong.any():
            edges = np.flatnonzero(np.diff(np.concatenate([[0], wrong.astype(np.int8), [0]])))
            differing[name] = [[int(first), int(end) - 1] for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return {
        "num_frames": num,
        "position": position,
        "percent": percent,
        "same_action": action,
        "differing": {name: differing[name] for name in frames.columns if name in differing},
    }


@torch.inference_mode()
def _contradictions(dreamt: State, before: State, context: Context) -> list[dict[str, Any]]:
    """Every one in the dream: {frame (index from 0), player, name, what}."""
    found = facts(dreamt, before, context).contradicts[0]
    rules = list(CONTRADICTIONS.values())
    return [
        {"frame": t, "player": player, "name": rules[k].name, "what": rules[k].doc}
        for t, player, k in found.nonzero().tolist()
    ]


def checked_policy(name: str) -> str:
    """The name of a policy, or "true". Raises Refused."""
    known = (TRUE_PADS, *policies())
    if name not in known:
        raise Refused(400, f"pads={name[:40]}, expected one of {', '.join(known)}")
    return name


def json_text(body: bytes) -> str:
    """A body that may be empty, in one form for a cache. Raises Refused."""
    if not body.strip():
        return ""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    return "" if value is None else json.dumps(value)
