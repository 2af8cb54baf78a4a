"""What an experiment is: model, data, training, loss weights, disturbance. Every key does something.

Owns: the keys of an experiment file, their defaults and limits. Must not: build anything from them.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, create_model, model_validator

import worldmodel
from worldmodel.dynamics.objective import GROUPS
from worldmodel.errors import WrongUse
from worldmodel.models.base import ModelConfig, NaiveModel, architectures, config_type
from worldmodel.runs import strict
from worldmodel.runs.strict import Strict

EXPERIMENTS = Path(worldmodel.__file__).parent / "experiments"

LANES = 8
"""Lanes of a batch if nobody says otherwise, and so the world sizes that a run can go on with: 1, 2, 4, 8."""

Share = Annotated[float, Field(ge=0, le=1)]

CARD_WEIGHTS = {
    "continuous": 1.0,
    "velocity": 0.5,
    "dynamics": 0.5,
    "binary": 0.5,
    "action": 2.0,
    "jumps": 0.5,
    "l_cancel": 0.3,
    "hurtbox": 0.3,
    "ground": 0.3,
    "last_attack": 0.3,
    "state_age": 0.3,
    "last_hit_by": 0.3,
}
"""Weights of the loss groups as the mission's run card has them; its system had no heads for the last two."""


def _trainable_configs() -> tuple[type[ModelConfig], ...]:
    """Config classes of all architectures but the naive ones, which have nothing to learn."""
    modules = {arch: importlib.import_module(config_type(arch).__module__) for arch in architectures()}
    return tuple(config_type(arch) for arch, module in modules.items() if not issubclass(module.Model, NaiveModel))


if TYPE_CHECKING:
    AnyModel = ModelConfig
    LossWeights = Strict
else:
    AnyModel = Annotated[Union[_trainable_configs()], Field(discriminator="arch")]  # noqa: UP007
    LossWeights = create_model(
        "LossWeights",
        __base__=Strict,
        # A group of the schema without a weight here has no default, so every experiment must then give one.
        **{group: (NonNegativeFloat, Field(CARD_WEIGHTS[group]) if group in CARD_WEIGHTS else ...) for group in GROUPS},
    )


class _Data(Strict):
    """Which frames make a sample, and how they reach the device.

    block_frames: frames of whole games that are shuffled among each other, and held at a time at about 200 bytes each.
    lanes: parts that every batch takes equal shares from; the processes of a run share them out, so their number must
    divide it. null: as many as go into 8 and into the batch.
    """

    block_frames: PositiveInt = 6_000_000
    lanes: PositiveInt | None = None


class WindowData(_Data):
    """`context_len` frames are shown, the loss is on the one after them: the card's objective.

    stride: frames from one window's target to the next's.
    """

    mode: Literal["window"] = "window"
    context_len: PositiveInt = 10
    stride: PositiveInt = 1

    @property
    def length(self) -> int:
        """Tokens of a step."""
        return self.context_len

    @property
    def carry(self) -> int:
        """Steps that a window is good for."""
        return 1

    @property
    def rows(self) -> int:
        """Rows of a window: its tokens, and the state before the first."""
        return self.context_len + 1

    @property
    def loss_from(self) -> int:
        """First token whose prediction counts."""
        return self.context_len - 1

    @property
    def stride_frames(self) -> int:
        """Frames from one window's start to the next's."""
        return self.stride


class SequenceData(_Data):
    """`length` frames in a row, the loss on all after the first `burn_in`. No frame is a target twice in an epoch.

    carry: chunks of `length` frames that follow each other in a game, a step each, with the recurrent state carried
    (and no gradient through it). Only the first of them has a burn-in.
    """

    mode: Literal["sequence"] = "sequence"
    length: PositiveInt = 64
    burn_in: NonNegativeInt = 8
    carry: PositiveInt = 1

    @model_validator(mode="after")
    def _something_is_scored(self) -> SequenceData:
        if self.burn_in >= self.length:
            raise ValueError(f"burn_in {self.burn_in} leaves nothing of length {self.length} to learn from")
        return self

    @property
    def loss_from(self) -> int:
        """First token whose prediction counts."""
        return self.burn_in

    @property
    def stride_frames(self) -> int:
        """Frames from one window's start to the next's."""
        return self.length * self.carry - self.burn_in

    @property
    def rows(self) -> int:
        """Rows of a window: the tokens of all its steps, and the state before the first."""
        return self.length * self.carry + 1


class Training(Strict):
    """How the weights move, and how often one looks.

    epochs: in total, also when a run is resumed. warmup_fraction: share of all steps in which the learning rate rises.
    batch_size: windows that one update is the mean over, on all devices together; accumulate: parts that it is computed
    in, one after the other, for less memory. ema: decay of a running mean of the weights, kept and evaluated beside
    them; null for none.
    log_every_steps: steps that one row of metrics is the mean of; log_every_s: how often rows are fetched from the
    device, written and shown. val_every_fraction: of an epoch; val_windows: size of the fixed held-out sample, 0 for
    no validation, "all" for every held-out window there is.
    checkpoint_every_min: besides one at each epoch's end; keep_last: how many of those stay.
    precision, compile: "auto" is bf16, and a compiled step, on a CUDA device that can; else fp32 and eager.
    kernels: what the inside of a block is made of: "torch", or "triton", one kernel of our own (windows of at most 16
    rows, CUDA only; it is not the default because no device has timed it yet, see decision 0012).
    threads: of the CPU; null leaves the machine's choice (sums then depend on the machine in their last bits).
    """

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 64
    lr: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 1e-5
    warmup_fraction: Share = 0.0
    grad_clip: PositiveFloat = 1.0
    accumulate: PositiveInt = 1
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: NonNegativeInt = 0
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    compile: bool | Literal["auto"] = False
    kernels: Literal["torch", "triton"] = "torch"
    threads: PositiveInt | None = None
    log_every_steps: PositiveInt = 100
    log_every_s: PositiveFloat = 10.0
    val_every_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    val_windows: NonNegativeInt | Literal["all"] = 4096
    checkpoint_every_min: PositiveFloat = 10.0
    keep_last: PositiveInt = 2

    @model_validator(mode="after")
    def _parts_are_whole(self) -> Training:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self


class ScheduledSampling(Strict):
    """The card's disturbance of the context (see `disturbance`).

    rate: share of samples; noise: standard deviation on scaled values; both reach their value after `anneal_epochs`
    epochs and are 0 in the first. corrupt_frames: how many of the last context frames.
    targets: "clean" (the card): differences to the true frame before; "corrective": to the disturbed one, so that the
    model learns to come back.
    """

    rate: Share = 0.3
    noise: NonNegativeFloat = 0.1
    anneal_epochs: PositiveInt = 3
    corrupt_frames: PositiveInt = 3
    targets: Literal["clean", "corrective"] = "clean"


class ContextNoise(Strict):
    """Our disturbance of the context: per field in its own unit, correlated over time as real drift is.

    rate: share of samples. scale: times the field's `drift` in the schema (a typical error of a rollout); fields: other
    standard deviations, by name, in the field's unit. correlation: of one frame's noise with the next one's.
    ramp: share of all steps over which rate and noise rise to their values, from the first step on.
    targets: "corrective": differences to the frame that was shown; "clean": to the true one.
    """

    rate: Share = 0.5
    scale: NonNegativeFloat = 1.0
    fields: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    correlation: Annotated[float, Field(ge=0, lt=1)] = 0.9
    ramp: Share = 0.1
    targets: Literal["clean", "corrective"] = "corrective"


class SelfForcing(Strict):
    """Some sequences are shown frames that the model itself made, and learn to come back to the true ones.

    every: one sequence in so many. max_frames: frames rolled out through the transition at the most. The number rises
    from 1 at `begin` to `max_frames` at `reach`, both shares of all steps.
    """

    every: PositiveInt = 4
    max_frames: PositiveInt = 8
    begin: Share = 0.2
    reach: Share = 0.8

    @model_validator(mode="after")
    def _in_order(self) -> SelfForcing:
        if self.begin > self.reach:
            raise ValueError(f"begin {self.begin} is after reach {self.reach}")
        return self


class Symmetry(Strict):
    """Windows that are shown another way round, which the physics does not mind: more games out of the same.

    swap: share of windows in which the players change places. mirror: share in which left and right do, on the stages
    that are mirrors of themselves.
    """

    swap: Share = 0.0
    mirror: Share = 0.0


class Emphasis(Strict):
    """Rows that count for more in the loss.

    action_change: weight of a player's row in which his action state changes (others: 1). events: name of an event
    of the schema -> share of the loss's row weight that its rows shall have; their weight follows from how often it
    happens in the training games, and is at most `max_weight`.
    """

    action_change: PositiveFloat = 1.0
    events: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    max_weight: PositiveFloat = 100.0


class Experiment(Strict):
    """An experiment file."""

    model: AnyModel
    data: Annotated[WindowData | SequenceData, Field(discriminator="mode")]
    training: Training = Training()
    loss_weights: LossWeights = LossWeights()
    symmetry: Symmetry | None = None
    emphasis: Emphasis | None = None
    scheduled_sampling: ScheduledSampling | None = None
    context_noise: ContextNoise | None = None
    self_forcing: SelfForcing | None = None

    @property
    def lanes(self) -> int:
        """Parts that every batch takes equal shares from (see `_Data`)."""
        return self.data.lanes or gcd(self.training.batch_size, LANES)

    @model_validator(mode="after")
    def _sections_fit(self) -> Experiment:
        if self.self_forcing and self.data.carry > 1:
            raise ValueError("self_forcing and data.carry > 1 exclude each other: a carried state has one history")
        if self.training.batch_size % self.lanes:
            raise ValueError(f"data.lanes {self.lanes} does not divide training.batch_size {self.training.batch_size}")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss group."""
        return self.loss_weights.model_dump()

    def with_epochs(self, epochs: int | None) -> Experiment:
        """The same with another total of epochs. Raises WrongUse."""
        if epochs is None:
            return self
        if epochs < 1:
            raise WrongUse(f"{epochs} epochs", "at least 1", "epochs are totals: give the number the run shall end at")
        return self.model_copy(update={"training": self.training.model_copy(update={"epochs": epochs})})


def find_experiment(name: str | Path) -> Path:
    """The file of an experiment: a path, or the name of one that comes with the package ("tiny").

    The package's own path ("worldmodel/experiments/tiny.yaml") works from anywhere. Raises WrongUse.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = {file.stem: file for file in sorted(EXPERIMENTS.glob("*.yaml"))}
    by_path = path.suffix == ".yaml" and path.parent.as_posix() in ("worldmodel/experiments", "experiments")
    if (by_path or path.name == str(name)) and path.name.removesuffix(".yaml") in shipped:
        return shipped[path.name.removesuffix(".yaml")]
    near = difflib.get_close_matches(path.name.removesuffix(".yaml"), shipped, 1)
    raise WrongUse(
        f"no experiment {str(name)!r}",
        f"a YAML file, or one of {', '.join(shipped)}",
        f"did you mean {near[0]!r}?" if near else "check the path",
    )


def load_experiment(path: Path, *, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file. Raises ConfigError, one line with file, line and column."""
    return strict.load(path, Experiment, overrides=overrides)


def differences(old: Experiment, new: Experiment) -> dict[str, tuple[Any, Any]]:
    """Dotted keys that differ: key -> (old, new)."""
    before, after = strict.flat(old.model_dump(mode="json")), strict.flat(new.model_dump(mode="json"))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }
