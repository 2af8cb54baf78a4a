"""A moment: everything that some worlds carry from one frame to the next, and how it is kept on disk.

Owns: choosing, mixing, saving worlds. Must not: advance one (that is `dynamics.world`).

Letters: B worlds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from worldmodel.dynamics.rollout import nothing_seen
from worldmodel.errors import WrongUse
from worldmodel.models.base import ModelState, WorldModel
from worldmodel.nn.frames import Context, State
from worldmodel.runs.atomic import write_bytes
from worldmodel.schema import LAYOUT

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that B worlds carry from frame to frame. Never changed in place: keeping one *is* a fork.

    state: the last frame (B,2,·). carried: what a loop carries (`rollout.nothing_seen`), tensors (B,...) of constant
    size. context: (B,·).
    frames: (B,) int64, frames since the worlds began; 0 in what `World.begin` and `World.fresh` return.
    """

    state: State
    carried: ModelState
    context: Context
    frames: Tensor

    def __len__(self) -> int:
        """Number of worlds."""
        return self.frames.shape[0]

    def map(self, function: Map) -> Moment:
        """The same function on each tensor."""
        return Moment(
            self.state.map(function),
            map_carried(self.carried, function),
            self.context.map(function),
            function(self.frames),
        )

    def __getitem__(self, index: Any) -> Moment:
        """Choose worlds: by number, slice, mask (B,) or int64 tensor, in which a repeated world is forked.

        The worlds axis stays: `moment[3]` is a moment of one world.
        """
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"world {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return self.map(lambda tensor: tensor[index])

    def where(self, mask_B: Tensor, other: Moment) -> Moment:
        """Per world this one where the mask (B,) bool is set, else the other: a reset of those that are over."""

        def choose(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(mask_B.view(-1, *(1,) * (mine.ndim - 1)), mine, theirs)

        return moment_of_tensors(
            [choose(a, b) for a, b in zip(tensors_of_moment(self), tensors_of_moment(other), strict=True)], self.carried
        )

    def to(self, device: torch.device | str) -> Moment:
        return self.map(lambda tensor: tensor.to(device))


def stack_moments(moments: list[Moment]) -> Moment:
    """Worlds of several moments as one, in order. All must be of one model."""
    columns = zip(*map(tensors_of_moment, moments), strict=True)
    return moment_of_tensors([torch.cat(column) for column in columns], moments[0].carried)


def tensors_of_moment(moment: Moment) -> list[Tensor]:
    """Every tensor of a moment, always in the same order."""
    return [*_parts(moment.state), *_parts(moment.context), moment.frames, *flat_carried(moment.carried)]


def _parts(value: State | Context) -> list[Tensor]:
    return [getattr(value, name) for name in value.__slots__]


def moment_of_tensors(tensors: list[Tensor], like: ModelState) -> Moment:
    """Inverse of `tensors_of_moment`. like: what the model carries, for its nesting."""
    rest = iter(tensors)
    state = State(*(next(rest) for _ in State.__slots__))
    context = Context(*(next(rest) for _ in Context.__slots__))
    frames = next(rest)
    return Moment(state, unflat_carried(like, rest), context, frames)


# ---- what a model carries: nested tuples of tensors --------------------------------------------------------------


def map_carried(carried: ModelState, function: Map) -> ModelState:
    """The same function on each tensor of a model's state."""
    return unflat_carried(carried, (function(tensor) for tensor in flat_carried(carried)))


def flat_carried(carried: ModelState) -> list[Tensor]:
    """The tensors of a model's state, in order."""
    return [tensor for part in carried for tensor in ([part] if isinstance(part, Tensor) else flat_carried(part))]


def unflat_carried(like: ModelState, tensors: Iterator[Tensor]) -> ModelState:
    """Inverse of `flat_carried`: tensors in the nesting of `like`."""
    return tuple(next(tensors) if isinstance(part, Tensor) else unflat_carried(part, tensors) for part in like)


# ---- on disk -----------------------------------------------------------------------------------------------------

_KEY = "worldmodel_moment"
_GENERATOR = "generator"


def weights_identity(model: WorldModel) -> str:
    """32 hex digits of what a model computes: its config, and every weight bit for bit."""
    digest = hashlib.sha256(json.dumps(model.config.model_dump(mode="json"), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def save_moment(moment: Moment, path: Path, model: WorldModel, *, generator: torch.Generator | None = None) -> None:
    """Write a moment, durably, as safetensors: bit for bit, with the identity of the model that made it.

    generator: its state is kept too, so that worlds that are drawn go on with the same chances.
    """
    tensors = {f"state.{name}": getattr(moment.state, name) for name in State.__slots__}
    tensors |= {f"context.{name}": getattr(moment.context, name) for name in Context.__slots__}
    tensors |= {f"carried.{k}": tensor for k, tensor in enumerate(flat_carried(moment.carried))}
    tensors["frames"] = moment.frames
    if generator is not None:
        tensors[_GENERATOR] = generator.get_state()
    about = {"codec_hash": LAYOUT.codec_hash, "weights": weights_identity(model)}
    # Clones: safetensors refuses views into one storage, which a fork of a moment is made of.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    write_bytes(path, save(plain, {_KEY: json.dumps(about)}))


def load_moment(path: Path, model: WorldModel, *, generator: torch.Generator | None = None) -> Moment:
    """A moment as it was saved, on the model's device. generator: is set to the state that was kept.

    Raises WrongUse for a file that is no moment, or one of another codec, of other weights, or without the chances
    that are asked for.
    """
    way_out = "give a file that save_moment wrote"
    if not path.is_file():
        raise WrongUse(f"no file {path}", "a moment", way_out)
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise WrongUse(f"{path}: {error}", "a moment", way_out) from error
    if not isinstance(about, dict):
        raise WrongUse(f"{path} is no moment", "a moment", way_out)
    if about.get("codec_hash") != LAYOUT.codec_hash:
        raise WrongUse(
            f"{path} holds frames of codec {about.get('codec_hash')}",
            f"codec {LAYOUT.codec_hash} of this version",
            "make it again with this version",
        )
    if about.get("weights") != weights_identity(model):
        raise WrongUse(
            f"{path} was made by other weights ({about.get('weights')})",
            f"{weights_identity(model)}, the model at hand",
            "load the model that made it",
        )
    if generator is not None:
        if _GENERATOR not in tensors:
            raise WrongUse(f"{path} keeps no chances", "a moment of a world with a temperature", way_out)
        generator.set_state(tensors[_GENERATOR])
    like = nothing_seen(model, 1)
    names = [
        *(f"state.{name}" for name in State.__slots__),
        *(f"context.{name}" for name in Context.__slots__),
        "frames",
        *(f"carried.{k}" for k in range(len(flat_carried(like)))),
    ]
    if lacking := [name for name in names if name not in tensors]:
        raise WrongUse(f"{path} without {lacking[0]}", "all that a loop carries", "make it again with this version")
    return moment_of_tensors([tensors[name].to(model.like.device) for name in names], like)
