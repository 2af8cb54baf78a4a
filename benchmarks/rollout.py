"""Frames per second of rollouts: worlds stepped one by one, many at once, against re-running a window for every frame.

    python benchmarks/rollout.py [--rounds 5] [--threads 2] [--streams 1 256 4096] [--models tiny card] [--device cpu]

Cases: `World.step` as it is, compiled, and in place (`Live`; on CUDA one captured graph). Beside them, with the same
weights, two ways to re-run the last K = 10 frames for each new one: through our own parallel form, and through blocks
as the field writes them (`standin.py`), which is what the reference's rollout did. Both copy their window per frame.
Floor: the bytes that a frame must move (weights once for all streams, recurrent state in and out for each) over the
copy bandwidth of this machine, measured in the same run. At last: whether a frame costs the same after 2,000 as
after 100.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from common import finish, parser, table
from standin import Block as FieldBlock
from torch import Tensor

from worldmodel.bench.ceilings import copy_bandwidth
from worldmodel.bench.clock import Timing, interleave, median_ratio
from worldmodel.bench.rollouts import Walk, begin, floor_bytes
from worldmodel.dynamics.live import Live
from worldmodel.dynamics.moment import Moment
from worldmodel.dynamics.policies import random
from worldmodel.dynamics.step import advance
from worldmodel.dynamics.world import World
from worldmodel.models.base import WorldModel, make_model
from worldmodel.nn.codec import Prediction
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.training.allocator import settle_allocator
from worldmodel.training.config import find_experiment, load_experiment

CONTEXT = 10
EXPERIMENTS = {"tiny": "tiny", "card": "mamba2-medium-gpu"}


class FieldForward:
    """A model's weights behind blocks as the field writes them. Equal to its own forward, which `check` asserts."""

    def __init__(self, model: Any) -> None:
        self.model, self.blocks = model, []
        for norm, block in zip(model.trunk.norms, model.trunk.blocks, strict=True):
            config = model.config
            made = FieldBlock(config.d_model, config.d_state, config.headdim, CONTEXT).to(model.like.device).eval()
            with torch.no_grad():
                made.conv.weight.copy_(block.conv_weight.T[:, None])
                made.conv.bias.copy_(block.conv_bias)
            made.norm, made.gate_norm, made.in_proj, made.out_proj = norm, block.norm, block.in_proj, block.out_proj
            made.A_log, made.D, made.dt_bias = block.A_log, block.D, block.dt_bias
            self.blocks.append(made)

    def __call__(self, previous: State, pads: Pads, context: Context) -> Prediction:
        hidden = self.model.embedder(previous, pads, context)
        for block in self.blocks:
            hidden = block(hidden)
        prediction: Prediction = self.model.heads(self.model.trunk.last_norm(hidden[:, -1:]), previous[:, -1:])
        return prediction

    @torch.inference_mode()
    def check(self, previous: State, pads: Pads, context: Context) -> None:
        ours, theirs = self.model(previous, pads, context, loss_from=CONTEXT - 1), self(previous, pads, context)
        torch.testing.assert_close(theirs.categories, ours.categories, rtol=1e-3, atol=1e-3)


class Rerun:
    """A rollout that keeps a window of K frames and runs all of it for each new one."""

    def __init__(self, forward: Callable[..., Prediction], model: WorldModel, moment: Moment, pads: Pads) -> None:
        self.forward, self.rules, self.context, self.now = forward, model.rules, moment.context, pads

        def repeat(tensor: Tensor) -> Tensor:
            return tensor[:, None].repeat(1, CONTEXT, *(1,) * (tensor.ndim - 1))

        self.states, self.pads = moment.state.map(repeat), pads.map(repeat)

    @torch.inference_mode()
    def __call__(self) -> None:
        prediction = self.forward(self.states, self.pads, self.context)
        following = advance(self.states[:, -1], prediction[:, -1], self.context, self.rules).map(torch.clone)
        self.states = State(*(_shifted(getattr(self.states, n), getattr(following, n)) for n in State.__slots__))
        self.pads = Pads(*(_shifted(getattr(self.pads, n), getattr(self.now, n)) for n in Pads.__slots__))


def _shifted(window: Tensor, newest: Tensor) -> Tensor:
    return torch.cat([window[:, 1:], newest[:, None]], 1)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--streams", type=int, nargs="+", default=[1, 256, 4096])
    options.add_argument("--models", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    options.add_argument("--device", default="cpu")
    options.add_argument("--no-compile", action="store_true")
    given = options.parse_args()
    settle_allocator()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    # One thread of ours is told apart from other processes by its CPU time; several wait for each other.
    alone = given.threads == 1 and device.type == "cpu"
    bandwidth = copy_bandwidth(device)
    rows: list[list[object]] = []
    found: dict[str, Any] = {}
    for name in given.models:
        torch.manual_seed(0)
        model = make_model(load_experiment(find_experiment(EXPERIMENTS[name])).model).to(device).eval()
        for streams in given.streams:
            measured = measure(model, streams, given.rounds, compiled=not given.no_compile, alone=alone)
            floor_s = floor_bytes(model, streams) / bandwidth
            rates = {case: streams / seconds for case, (seconds, _) in measured.items()}
            best = max(rates.values())
            for case, (seconds, versus) in measured.items():
                rows.append([name, streams, case, rates[case], seconds * 1e3, floor_s / seconds, *versus])
            found[f"{name}, {streams}"] = {
                "frames_per_s": {case: round(rate, 1) for case, rate in rates.items()},
                "floor_frames_per_s": round(streams / floor_s, 1),
                "best_over_field_rerun": round(best / rates["re-run, as the field writes it"], 2)
                if "re-run, as the field writes it" in rates
                else None,
            }
    table(
        ["model", "streams", "case", "frames/s", "ms per step", "share of floor", "x own re-run", "x field's re-run"],
        rows,
    )
    late = flatness(make_model(load_experiment(find_experiment("tiny")).model).to(device).eval())
    kind = "CPU" if alone else "wall"
    print(
        f"{kind} seconds; copies at {bandwidth / 1e9:.1f} GB/s; a frame after 2,000 costs {late:.2f} of one after 100"
    )
    about = {"device": str(device), "threads": given.threads, "cpu_seconds": alone, "copy_gb_s": bandwidth / 1e9}
    finish("rollout", {**about, "late_over_early": late, "results": found})


def measure(
    model: WorldModel, streams: int, rounds: int, *, compiled: bool, alone: bool
) -> dict[str, tuple[float, list[float]]]:
    """Case -> (median seconds of one frame of all streams, [speed over our re-run, over the field's]).

    alone: seconds are CPU seconds, else of the wall.
    """
    worlds = World(model)
    moment, pads = begin(worlds, model, streams)
    cases: dict[str, Callable[[], object]] = {"step": Walk(worlds, moment, pads)}
    if compiled:
        torch._dynamo.reset()
        cases["step, compiled"] = Walk(World(model, compile=True), moment, pads)
    on_device = moment.frames.is_cuda
    if compiled or on_device:
        live = Live(worlds, moment, compile=compiled)
        cases["graph, in place" if on_device else "in place, compiled"] = lambda: live.step(pads)
    if streams <= 256:
        field = FieldForward(model)
        again = Rerun(field, model, moment, pads)
        field.check(again.states, again.pads, moment.context)
        cases["re-run, our parallel form"] = Rerun(lambda *a: model(*a, loss_from=CONTEXT - 1), model, moment, pads)
        cases["re-run, as the field writes it"] = again
    frames = max(1, min(100, 512 // streams))
    timings = interleave({name: _repeated(case, frames, model) for name, case in cases.items()}, rounds=rounds)

    def spent(timing: Timing) -> list[float]:
        return timing.cpu_s if alone else timing.wall_s

    def times(case: str, other: str) -> float:
        if other not in timings:
            return float("nan")
        return median_ratio(spent(timings[other]), spent(timings[case]))

    return {
        case: (
            statistics.median(spent(timing)) / frames,
            [times(case, "re-run, our parallel form"), times(case, "re-run, as the field writes it")],
        )
        for case, timing in timings.items()
    }


def _repeated(case: Callable[[], object], frames: int, model: WorldModel) -> Callable[[], None]:
    def run() -> None:
        for _ in range(frames):
            case()
        if model.like.is_cuda:
            torch.cuda.synchronize()

    return run


def flatness(model: WorldModel) -> float:
    """CPU time of a hundred frames after 2,000 over that after 100, best of three each."""
    world = World(model)
    moment = world.fresh(["Battlefield"], [("Fox", "Falco")])
    generator = torch.Generator(device=model.like.device).manual_seed(0)
    spent = []
    for _ in range(21):
        started = time.process_time()
        for _ in range(100):
            moment = world.step(moment, random(moment.state, moment.frames, generator))
        spent.append(time.process_time() - started)
    return min(spent[18:]) / min(spent[1:4])


if __name__ == "__main__":
    main()
