"""Environment frames per second, by tensors and by NumPy, beside the bare world; and a million frames that must hold.

    python benchmarks/env.py [--rounds 5] [--threads 2] [--compile] [--device cuda]
    python benchmarks/env.py --million RUN       # instead: a random policy and a scripted one against a trained model

Cases take turns: `World.step` alone, `Matches.step` (pads settled, rewards, ends, worlds begun anew), the same in place
(on CUDA one captured graph), and the Gymnasium vector environment with typed and with flat observations, against a
neutral opponent. An environment frame is one frame of one match. Every world begins anew once in 600 frames.

`--million` plays 1,000,000 frames per policy from new matches and counts what no frame may be (`env.soundness`), and
contradictions between fields (`schema.contradictions`) beside how often they happen to true replays (--data).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, parser, table

from worldmodel.bench.clock import interleave, median_ratio
from worldmodel.dataset.blocks import load_block
from worldmodel.dataset.store import open_dataset
from worldmodel.dynamics.events import StateRows
from worldmodel.dynamics.policies import approach, policy
from worldmodel.dynamics.world import World
from worldmodel.env import MeleeVectorEnv, make_matches
from worldmodel.env.controller import button
from worldmodel.env.setup import find_model
from worldmodel.env.soundness import impossible
from worldmodel.models.base import WorldModel, make_model
from worldmodel.nn.frames import DeviceBlock, Pads, State
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.training.config import find_experiment, load_experiment

MODELS = {"tiny": "tiny", "card": "mamba2-medium-gpu"}
WORLDS = (1, 64, 1024)
WORLDS_CUDA = (*WORLDS, 4096, 16384)
EPISODE = 600
STEPS = {1: 100, 64: 20}
"""Steps of a timed case by number of worlds; 3 for more."""


def pads_at_random(num_worlds: int, device: torch.device) -> Pads:
    g = torch.Generator().manual_seed(0)
    numbers = torch.rand(num_worlds, 2, 5, generator=g) * 2 - 1
    return Pads(numbers, torch.rand(num_worlds, 2, 8, generator=g) < 0.1).to(device)


def cases_of(model: WorldModel, num_worlds: int, steps: int, *, compiled: bool) -> dict[str, Callable[[], object]]:
    device = model.like.device
    pads = pads_at_random(num_worlds, device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def stepping(step: Callable[[], object]) -> Callable[[], object]:
        def once() -> None:
            for _ in range(steps):
                step()
            wait()

        return once

    def vector(observation: str) -> Callable[[], object]:
        env = MeleeVectorEnv(model, num_worlds, observation=observation, action="flat", max_frames=EPISODE)  # type: ignore[arg-type]
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        actions = rng.random((num_worlds, 13), np.float32)
        return stepping(lambda: env.step(actions))

    def matches(**how: bool) -> Callable[[], object]:
        made = make_matches(model, num_worlds, max_frames=EPISODE, **how)
        made.reset(0)
        return stepping(lambda: made.step(pads))

    world = World(model)
    held = {"moment": world.fresh(["Battlefield"] * num_worlds, [("Fox", "Marth")] * num_worlds)}

    def bare() -> None:
        held["moment"] = world.step(held["moment"], pads)

    in_place = {"Matches.step, in place": matches(in_place=True)}
    if compiled:
        in_place["the same, compiled"] = matches(in_place=True, compile=True)
    return {
        "World.step": stepping(bare),
        "Matches.step": matches(),
        **in_place,
        "Gymnasium, typed": vector("dict"),
        "Gymnasium, flat": vector("flat"),
    }


def speed(rounds: int, device: str, names: list[str], worlds: list[int], *, compiled: bool) -> None:
    rows: list[list[object]] = []
    result: dict[str, Any] = {}
    for name in names:
        torch.manual_seed(0)
        model = make_model(load_experiment(find_experiment(MODELS[name])).model).to(device).eval()
        for num_worlds in worlds:
            steps = STEPS.get(num_worlds, 3)
            timings = interleave(cases_of(model, num_worlds, steps, compiled=compiled), rounds=rounds)
            base = timings["World.step"]
            for case, timing in timings.items():
                rate = num_worlds * steps / timing.median_wall_s
                on_cpu = num_worlds * steps / timing.median_cpu_s
                # A busy machine halves wall time, and leaves CPU seconds nearly what they are.
                sides = (timing.wall_s, base.wall_s) if device == "cuda" else (timing.cpu_s, base.cpu_s)
                overhead = median_ratio(*sides) - 1
                rows.append([name, num_worlds, case, rate, on_cpu, f"{100 * overhead:+.0f} %", timing.spread])
                told = {"frames_per_s": rate, "frames_per_cpu_s": on_cpu, "overhead": overhead, "spread": timing.spread}
                result[f"{name}/{num_worlds}/{case}"] = {key: round(value, 3) for key, value in told.items()}
    table(["model", "worlds", "case", "frames/s", "frames/CPU s", "over World.step", "spread"], rows)
    finish("env", {"device": device, "threads": torch.get_num_threads(), "cases": result})


# ---- a million frames --------------------------------------------------------------------------------------------

MILLION_WORLDS = 1024


def scripted(state: State, frames: torch.Tensor, generator: torch.Generator) -> Pads:
    """Run at each other; every third of a second one of attack, special, jump, shield, grab, by the clock."""
    pads = approach(state, frames, generator)
    turn, buttons = frames // 20 % 5, pads.buttons.clone()
    for which, name in enumerate(("a", "b", "x", "l", "z")):
        buttons[..., button(name)] = ((turn == which) & (frames % 20 < 4))[:, None]
    return Pads(pads.numbers, buttons)


def million(run: str, data: str | None, num_frames: int, temperature: float | None) -> None:
    model = find_model(run)
    result: dict[str, Any] = {"run": Path(run).name, "temperature": temperature}
    rows: list[list[object]] = []
    for name, hold in {"random": policy("random"), "extreme": policy("extreme"), "scripted": scripted}.items():
        worlds = min(MILLION_WORLDS, num_frames)
        matches = make_matches(model, worlds, temperature=temperature, max_frames=EPISODE * 6, characters=CHARACTERS)
        before, chances = matches.reset(0), torch.Generator().manual_seed(0)
        broken: dict[str, int] = {}
        deaths = ends = told = 0
        began = time.perf_counter()
        for _ in range(-(-num_frames // worlds)):
            outcome = matches.step(hold(matches.moment.state, matches.moment.frames, chances))
            same = ~outcome.began[:, None]  # the frame before belongs to another episode
            rules = impossible(before, outcome.state)
            rows_of = StateRows(before), StateRows(outcome.state)
            rules |= {f"({key})": rule.rule(*rows_of) for key, rule in CONTRADICTIONS.items() if key not in rules}
            for key, mask in rules.items():
                broken[key] = broken.get(key, 0) + int((mask & same).sum())
            deaths += int((rows_of[1].number("stocks") < rows_of[0].number("stocks"))[same.expand(-1, 2)].sum())
            ends += int(outcome.terminated.sum())
            told += int(same.sum())
            before = outcome.state
        seconds = time.perf_counter() - began
        result[name] = {
            "frames": told, "seconds": round(seconds, 1), "deaths": deaths, "won": ends, "player_frames": broken
        }  # fmt: skip
        rows += [[name, key, count, count / (2 * told)] for key, count in broken.items()]
        hard = sum(count for key, count in broken.items() if not key.startswith("("))
        print(
            f"{name}: {told:,} frames in {seconds:.0f} s, {deaths} deaths, {ends} matches decided, {hard} impossible",
            flush=True,
        )
    if data:
        share = contradictions_of(data)
        result["replays"] = share
        rows += [["true replays", f"({key})", "", value] for key, value in share.items()]
    table(["pads", "rule (contradiction)", "player-frames", "share"], rows)
    finish("env_million", result)


CHARACTERS = [("Fox", "Marth"), ("Captain Falcon", "Falco"), ("Sheik", "Jigglypuff"), ("Peach", "Fox")]


def contradictions_of(data: str) -> dict[str, float]:
    """Share of true player-frames that contradict themselves, on the first twenty games of a dataset."""
    dataset = open_dataset(data)
    counts, total = dict.fromkeys(CONTRADICTIONS, 0), 0
    for number in dataset.rows()[:20].tolist():
        block = DeviceBlock.from_block(load_block(dataset, [number]))
        states, _, _ = block.gather(torch.tensor([[0, 0]]), int(block.offsets[1]))
        pair = StateRows(states[0, :-1]), StateRows(states[0, 1:])
        for key, rule in CONTRADICTIONS.items():
            counts[key] += int(rule.rule(*pair).sum())
        total += 2 * (int(block.offsets[1]) - 1)
    return {key: count / total for key, count in counts.items()}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--device", default="cpu")
    made.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    made.add_argument("--worlds", type=int, nargs="+", help="numbers of worlds (default: 1, 64, 1024; more on CUDA)")
    made.add_argument("--compile", action="store_true", help="one more case: in place and compiled (minutes, once)")
    made.add_argument("--million", metavar="RUN", help="run folder or weights file")
    made.add_argument("--frames", type=int, default=1_000_000, help="of --million, per policy")
    made.add_argument("--temperature", type=float, help="of --million; default: deterministic")
    made.add_argument("--data", help="dataset of true replays to compare contradictions with")
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    if options.million:
        million(options.million, options.data, options.frames, options.temperature)
    else:
        worlds = options.worlds or list(WORLDS_CUDA if options.device == "cuda" else WORLDS)
        speed(options.rounds, options.device, options.models, worlds, compiled=options.compile)


if __name__ == "__main__":
    main()
