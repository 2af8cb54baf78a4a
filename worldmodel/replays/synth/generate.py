"""Synthetic replays by the thousand, and the question "what if the pads had been different".

Owns: numbering of games, batches, the folder that a set is written to. Game i of a seed is the same bytes whatever the
number of games, the lanes or the worker. Must not: know physics or bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from worldmodel.errors import WrongUse
from worldmodel.replays.synth.game import Rules, opening, play
from worldmodel.replays.synth.players import decide
from worldmodel.replays.synth.sim import step
from worldmodel.replays.synth.state import Pads, State
from worldmodel.replays.synth.writer import LATEST, write_slp
from worldmodel.runs import atomic
from worldmodel.schema.field import Version

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes. 1 (2026-11): first."""

JOB_GAMES = 512
"""Games that a worker process takes at a time."""
MARKER = "synth.json"
"""File in the folder of a set: what it was generated with."""


def game_name(seed: int, number: int) -> str:
    """File name of a game."""
    return f"synth-{seed}-{number:06d}.slp"


def generate(
    num_games: int, seed: int, *, first: int = 0, rules: Rules | None = None, version: Version = LATEST
) -> Iterator[tuple[str, bytes]]:
    """Games first .. first + num_games - 1 of a seed, in order, as (file name, bytes)."""
    rules = rules or Rules()
    due = first
    early: dict[int, bytes] = {}
    for number, game in play(seed, range(first, first + num_games), rules):
        early[number] = write_slp(game, version=version)
        while due in early:
            yield game_name(seed, due), early.pop(due)
            due += 1


def state_at(seed: int, number: int, row: int, *, rules: Rules | None = None) -> State:
    """The state of game `number` after its row `row` (G = 1); row -1 is before the first."""
    rules = rules or Rules()
    state, mind = opening(seed, np.array([number]), rules)
    for _ in range(row + 1):
        pads, mind = decide(state, mind)
        state = step(state, pads)
    return state


def what_if(seed: int, number: int, row: int, pads: Sequence[Pads], *, rules: Rules | None = None) -> list[State]:
    """True states of rows row, row + 1, ... of a game, had these pads been held there. Pads are (1, 2) each."""
    state = state_at(seed, number, row - 1, rules=rules)
    states = []
    for held in pads:
        state = step(state, held)
        states.append(state)
    return states


def write_games(
    out: Path,
    num_games: int,
    seed: int,
    *,
    rules: Rules | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write games 0 .. num_games - 1 of a seed into a folder; returns how many were not there before.

    A file is there whole or not at all, so a set that was interrupted goes on where it stopped. Raises WrongUse for a
    folder that holds something else. `progress` is called with how many games are there that were not counted before.
    """
    rules = rules or Rules()
    _claim(out, seed, rules)
    missing = [n for n in range(num_games) if not (out / game_name(seed, n)).exists()]
    if progress and num_games > len(missing):
        progress(num_games - len(missing))
    if workers <= 1:
        for _ in _write(out, seed, missing, rules):
            if progress:
                progress(1)
        return len(missing)
    jobs = [missing[k : k + JOB_GAMES] for k in range(0, len(missing), JOB_GAMES)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_write_all, out, seed, job, rules) for job in jobs]):
            if progress:
                progress(future.result())
            else:
                future.result()
    return len(missing)


def _write(out: Path, seed: int, numbers: list[int], rules: Rules) -> Iterator[int]:
    for number, game in play(seed, numbers, rules):
        atomic.write_bytes(out / game_name(seed, number), write_slp(game))
        yield number


def _write_all(out: Path, seed: int, numbers: list[int], rules: Rules) -> int:
    return sum(1 for _ in _write(out, seed, numbers, rules))


def _claim(out: Path, seed: int, rules: Rules) -> None:
    """Mark the folder as ours, or refuse it."""
    ours = {"generator_version": GENERATOR_VERSION, "seed": seed, **asdict(rules), "version": list(LATEST)}
    marker = out / MARKER
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except ValueError:
            found = "an unreadable marker"
        if found != ours:
            raise WrongUse(
                f"{marker} is of another set ({found})", f"{ours}", "choose an empty folder, or the same options"
            )
        return
    if out.exists() and not out.is_dir():
        raise WrongUse(f"{out} is a file", "a folder", "choose another name")
    if out.exists() and any(out.iterdir()):
        raise WrongUse(
            f"{out} holds other files", "an empty folder or one of an earlier synth run", "choose another folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(marker, json.dumps(ours, indent=1).encode())
