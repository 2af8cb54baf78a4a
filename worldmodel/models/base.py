"""What every architecture is: previous states and pads in, a prediction out, in parallel or frame by frame.

Owns: the contract (`WorldModel`), the registry by file name, self-describing weights. Must not: know one architecture.
Every other file of this folder is one architecture; it defines `Config` (with `arch`, the file's name) and `Model`.

Letters: B sequences, T rows, D width of the trunk.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import worldmodel.models as package
from worldmodel.errors import WrongUse
from worldmodel.nn.codec import Embedder, HeadKind, Heads, Prediction, Rules
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.runs.atomic import write_bytes
from worldmodel.runs.strict import Strict
from worldmodel.schema import LAYOUT

ModelState = tuple[Any, ...]
"""What a model carries from frame to frame: nested tuples of tensors (B,...), never changed in place."""


class ModelConfig(Strict):
    """Base of every architecture's config. Each narrows `arch` to a Literal of its file name."""

    arch: str
    heads: HeadKind = "residual"


class TrunkConfig(ModelConfig):
    """Of architectures that learn: what a frame's token is made of.

    relative: each player also sees where the other is, along its own facing and up. frame_hidden: width of a layer in
    which a frame's features act on each other before the trunk; 0: none, as in the card's system. move_table: places of
    a table with a vector for each frame of each character's moves; 0: none.
    """

    relative: bool = False
    frame_hidden: NonNegativeInt = 0
    move_table: NonNegativeInt = 0


class WorldModel(nn.Module, ABC):
    """A model of one step. `forward`, `scan` and `step` are one function in three forms; a test holds them equal."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.rules = Rules(config.heads)

    @abstractmethod
    def forward(self, previous: State, pads: Pads, context: Context, *, loss_from: int = 0) -> Prediction:
        """Parallel, without history: previous states and pads now (B,T,2,·), see `nn.frames.aligned`.

        The prediction has rows loss_from .. T-1 only: what is not asked for is not computed.
        """

    @abstractmethod
    def scan(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        """Parallel, with history: `forward` that takes a state up and hands one on."""

    @abstractmethod
    def step(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        """One frame: previous state and pads now (B,2,·). Returns a new state; the given one stays usable."""

    @abstractmethod
    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ModelState:
        """The state before the first frame. Device and dtype default to the model's own."""

    def use_kernels(self, num_rows: int) -> None:
        """From now on, compute `forward` of windows of `num_rows` tokens with GPU kernels of our own.

        Raises WrongUse where there is none for this architecture or this size.
        """
        raise WrongUse(
            f"training.kernels: triton for arch {self.config.arch!r}", "mamba2", "set training.kernels to torch"
        )

    @property
    def like(self) -> Tensor:
        """A tensor that has the model's device and dtype."""
        return self.rules.scale

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class Trunk(nn.Module, ABC):
    """The part that architectures differ in: tokens (B,T,D) to hidden vectors (B,T,`d_out`)."""

    d_out: int

    @abstractmethod
    def forward(self, tokens: Tensor, first_row: int = 0) -> Tensor:
        """Parallel, without history. Only the rows from `first_row` on are returned: (B,T-first_row,`d_out`)."""

    @abstractmethod
    def scan(self, tokens: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Parallel, with history."""

    @abstractmethod
    def step(self, token: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """One frame: (B,D) -> (B,d_out)."""

    @abstractmethod
    def init_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> ModelState: ...


class TrunkModel(WorldModel):
    """Embedder, trunk, heads. Pads enter the token, before the trunk."""

    def __init__(self, config: TrunkConfig, d_token: int, trunk: Trunk) -> None:
        super().__init__(config)
        self.embedder = Embedder(
            d_token, self.rules, relative=config.relative, hidden=config.frame_hidden, moves=config.move_table
        )
        self.trunk = trunk
        self.heads = Heads(trunk.d_out, self.rules)

    def forward(self, previous: State, pads: Pads, context: Context, *, loss_from: int = 0) -> Prediction:
        hidden = self.trunk(self.embedder(previous, pads, context), loss_from)
        prediction: Prediction = self.heads(hidden, previous[:, loss_from:] if loss_from else previous)
        return prediction

    def scan(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        hidden, state = self.trunk.scan(self.embedder(previous, pads, context), state)
        return self.heads(hidden, previous), state

    def step(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        hidden, state = self.trunk.step(self.embedder(previous, pads, context), state)
        return self.heads(hidden, previous), state

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ModelState:
        like = self.like
        return self.trunk.init_state(batch, torch.device(device or like.device), dtype or like.dtype)


class NaiveModel(WorldModel):
    """A baseline without parameters or memory: the prediction is a function of the previous frame alone."""

    @abstractmethod
    def desired(self, previous: State) -> State:
        """The next frame that this baseline believes in."""

    def forward(self, previous: State, pads: Pads, context: Context, *, loss_from: int = 0) -> Prediction:
        previous = previous[:, loss_from:] if loss_from else previous
        return self.rules.encode_state(previous, self.desired(previous))

    def scan(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        return self.forward(previous, pads, context), state

    def step(self, previous: State, pads: Pads, context: Context, state: ModelState) -> tuple[Prediction, ModelState]:
        return self.forward(previous, pads, context), state

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ModelState:
        return ()


# ---- registry by file name ---------------------------------------------------------------------------------------


def architectures() -> tuple[str, ...]:
    """Names of all architectures: the files of this folder."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.name != "base"))


def config_type(arch: str) -> type[ModelConfig]:
    """The config class of an architecture. Raises WrongUse if there is no such file."""
    found: type[ModelConfig] = _module(arch).Config
    return found


def make_model(config: ModelConfig | Mapping[str, Any]) -> WorldModel:
    """A fresh model. A mapping is checked strictly by its architecture's config first (pydantic's ValidationError)."""
    if not isinstance(config, ModelConfig):
        config = config_type(str(config.get("arch"))).model_validate(dict(config))
    model: WorldModel = _module(config.arch).Model(config)
    return model


def _module(arch: str) -> Any:
    if arch not in architectures():
        raise WrongUse(f"arch {arch!r}", f"one of {', '.join(architectures())}", "set model.arch to one of these")
    return importlib.import_module(f"{package.__name__}.{arch}")


# ---- weights that say what they are ------------------------------------------------------------------------------

_KEY = "worldmodel"


def save_weights(
    model: WorldModel, path: Path, *, weights: Mapping[str, Tensor] | None = None, code_version: str | None = None
) -> None:
    """Write a safetensors file, durably, that `load_model` needs nothing else for.

    weights: an earlier state of the model, to be written instead of the one that it has now.
    """
    about = {
        "config": model.config.model_dump(mode="json"),
        "codec_hash": LAYOUT.codec_hash,
        "store_hash": LAYOUT.store_hash,
        "code_version": code_version or version("worldmodel"),
    }
    state = model.state_dict() if weights is None else weights
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, save(tensors, {_KEY: json.dumps(about)}))


def describe_weights(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: config, codec_hash, store_hash, code_version. Raises WrongUse."""
    way_out = "give the weights of a run, as `worldmodel train` writes them"
    if not path.is_file():
        raise WrongUse(f"no file {path}", "a weights file", way_out)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WrongUse(f"{path}: {error}", "a safetensors file", way_out) from error
    if _KEY not in metadata:
        raise WrongUse(f"{path} does not say what model it holds", f"metadata {_KEY!r}", way_out)
    about: dict[str, Any] = json.loads(metadata[_KEY])
    return about


def load_model(path: Path, *, device: torch.device | str = "cpu") -> WorldModel:
    """The model of a weights file, in evaluation mode. Every tensor must fit; raises WrongUse if the codec differs."""
    about = describe_weights(path)
    if about["codec_hash"] != LAYOUT.codec_hash:
        raise WrongUse(
            f"{path} was trained with codec {about['codec_hash']}",
            f"codec {LAYOUT.codec_hash} of this version",
            f"train again, or use version {about['code_version']}",
        )
    model = make_model(about["config"])
    with safe_open(str(path), framework="pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return model.to(device).eval()
