"""A ladder of recipes, from the mission's to ours, one variable at a time, each measured on the same held-out games.

    python benchmarks/recipes/search.py --data DATASET --out FOLDER [--only RUNG ...] [--seeds 0 1 2] [--epochs 2]
    python benchmarks/recipes/search.py --out FOLDER --file RESULT.json        # what stands there, as one file

Every rung is a run of its own with a card, launched, evaluated and closed by the product's own verbs; what is there
already is not made again. `docs/results.md` is written from the filed results (`page.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page import RARE, TITLES

from worldmodel.evaluation.compare import compare, read_side
from worldmodel.training.config import load_experiment

HERE = Path(__file__).parent
REVIEWER = "search.py"


@dataclass(frozen=True, slots=True)
class Rung:
    """One change. on: the rung below, whose overrides it keeps. says: what is changed, for people."""

    says: str
    overrides: tuple[str, ...]
    on: str | None


_SEQUENCE = "data={mode: sequence, length: 64, burn_in: 8}"
_WEIGHTS = ("binary=5", "dynamics=6", "ground=1", "last_hit_by=1", "last_attack=0.5", "hurtbox=0.5")
_OWN_FRAMES = ("self_forcing={every: 4, max_frames: 12, begin: 0.1, reach: 0.6}",)
_TOKEN = ("model.relative=true", "model.frame_hidden=256")
RUNGS: dict[str, Rung] = {
    "card": Rung("the mission's recipe to the letter", (), None),
    "sequence": Rung(
        "sequences of 64 instead of windows of 10: a loss on 56 frames of each",
        (_SEQUENCE, "model.chunk_size=64", "training.batch_size=16"),
        "card",
    ),
    "heads": Rung(
        "heads that say a change to a prior, gated, instead of the card's", ("model.heads=residual",), "sequence"
    ),
    "rate": Rung(
        "learning rate 5e-3 with a warm-up, weight decay 1e-4",
        ("training.lr=5e-3", "training.warmup_fraction=0.05", "training.weight_decay=1e-4"),
        "heads",
    ),
    "weights": Rung("more weight on rare things", tuple(f"loss_weights.{one}" for one in _WEIGHTS), "rate"),
    "quiet": Rung("without the card's noise", ("scheduled_sampling=null",), "weights"),
    "mean": Rung("the running mean of the weights", ("training.ema=0.999",), "quiet"),
    "own-frames": Rung(
        "one sequence in four is shown up to 12 frames of the model's own",
        _OWN_FRAMES,
        "mean",
    ),
    "noise": Rung("our noise, per field and corrective", ("context_noise={}",), "own-frames"),
    "changes": Rung("changes of the action state weigh five times", ("emphasis={action_change: 5}",), "own-frames"),
    "events": Rung(
        "hits, deaths, landings and respawns have a share of the loss",
        ("emphasis={events: {hit: 0.05, death: 0.02, landing: 0.05, respawn: 0.02}}",),
        "own-frames",
    ),
    "relative": Rung(
        "each player sees where the other is, along its own facing", ("model.relative=true",), "own-frames"
    ),
    "token": Rung(
        "a layer of 256 in which a frame's features act on each other",
        _TOKEN,
        "own-frames",
    ),
    "swap": Rung("half of the sequences with the players swapped", ("symmetry={swap: 0.5}",), "own-frames"),
    "mirror": Rung("half of the sequences mirrored", ("symmetry={mirror: 0.5}",), "own-frames"),
    "both": Rung("swapped and mirrored", ("symmetry={swap: 0.5, mirror: 0.5}",), "own-frames"),
    "all": Rung(
        "what helped: own frames, relative places, the layer of 256, the running mean; without the noise",
        (*_OWN_FRAMES, *_TOKEN, "scheduled_sampling=null", "training.ema=0.999"),
        "rate",
    ),
    "all-turned": Rung("the same, swapped and mirrored", ("symmetry={swap: 0.5, mirror: 0.5}",), "all"),
    "moves": Rung(
        "a table with a vector for each frame of each character's moves", ("model.move_table=32768",), "all-turned"
    ),
}


def overrides_of(name: str) -> list[str]:
    """All overrides of a rung, those of the rungs below first."""
    rung = RUNGS[name]
    return [*(overrides_of(rung.on) if rung.on else ()), *rung.overrides]


def verb(*words: str, cwd: Path, may: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run `worldmodel ... --json` and read its last line."""
    command = [sys.executable, "-m", "worldmodel", *words, "--json"]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    if done.returncode not in may:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}")
    lines = done.stdout.strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def measure(name: str, seed: int, out: Path, data: Path, epochs: int) -> None:
    """Card, launch, evaluation, close-out of one rung; nothing if its result is there."""
    run = f"{name}-s{seed}"
    folder = out / "runs" / run
    if (folder / "report" / "result.json").is_file():
        return
    began = time.monotonic()
    if not (out / "cards" / f"{run}.md").is_file():
        changes = [*overrides_of(name), f"training.seed={seed}", f"training.epochs={epochs}"]
        verb("card", "new", "--from", str(HERE / "card.yaml"), "--data", str(data), "--name", run,
             "--goal", RUNGS[name].says, *changes, cwd=out)  # fmt: skip
    if not folder.is_dir():
        verb("card", "review", run, "--by", REVIEWER, "--approve", cwd=out)
        verb("card", "launch", run, "--share-device", cwd=out)
    while verb("status", run, cwd=out, may=(0, 1, 3))["state"] in ("starting", "running"):
        time.sleep(5)
    has_mean = any(one.startswith("training.ema=") for one in overrides_of(name))
    verb("eval", str(folder), *(["--ema"] if has_mean else []), cwd=out)
    verb("card", "close", run, cwd=out)
    print(f"{run}: {time.monotonic() - began:.0f} s", flush=True)


def collected(out: Path) -> dict[str, Any]:
    """Of every rung and seed that was measured: what it is, what it reached, and what it is to the rung below."""
    rungs: dict[str, Any] = {}
    epochs, num_frames = set(), set()
    for name, rung in RUNGS.items():
        seeds = {}
        for report in sorted((out / "runs").glob(f"{name}-s[0-9]*/report")):
            if not (report / "result.json").is_file():
                continue
            run, seed = report.parent, report.parent.name.rpartition("-s")[2]
            result = json.loads((report / "result.json").read_text(encoding="utf-8"))
            told = json.loads((run / "run.json").read_text(encoding="utf-8"))
            epochs.add(load_experiment(run / "config.yaml").training.epochs)
            num_frames.add(told["dataset"]["num_frames"])
            below = None if rung.on is None else out / "runs" / f"{rung.on}-s{seed}" / "report"
            card = out / "runs" / f"card-s{seed}" / "report"
            seeds[seed] = {
                "weights": result["weights"],
                "data": result["data"],
                "code": result["code"],
                "measures": measures_of(report, below),
                "against_card": None if name == "card" or not card.is_dir() else against(report, card),
            }
        if seeds:
            kept = {"says": rung.says, "on": rung.on, "overrides": list(rung.overrides)}
            rungs[name] = kept | {"seeds": seeds}
    if len(epochs) > 1 or len(num_frames) > 1:
        raise SystemExit(f"not comparable: {sorted(epochs)} passes over {sorted(num_frames)} frames")
    return {"benchmark": "recipes", "epochs": epochs.pop(), "num_frames": num_frames.pop(), "rungs": rungs}


def measures_of(report: Path, below: Path | None) -> dict[str, Any]:
    """The measures that the page shows, and the paired difference to the rung below, where the two can be compared."""
    own = {one["name"]: one for one in compare(read_side(report), read_side(report))["measures"]}
    paired: dict[str, Any] = {}
    if below is not None and (below / "result.json").is_file():
        paired = {one["name"]: one for one in compare(read_side(below), read_side(report))["measures"]}
    return {
        name: {
            "unit": own[name]["unit"],
            "value": own[name]["b"]["value"],
            "difference": paired[name]["difference"] | {"verdict": paired[name]["verdict"]} if name in paired else None,
        }
        for name in (*TITLES, *RARE)
    }


def against(report: Path, card: Path) -> dict[str, Any]:
    """Errors over those of the mission's recipe, and the headlines that are worse than its."""
    told = compare(read_side(card), read_side(report))
    found = {one["name"]: one for one in told["measures"]}
    names = [f"uniform/{what}@{frames}" for what in ("pos_mae", "percent_mae") for frames in (5, 10, 20)]
    return {
        "ratios": {name: round(found[name]["b"]["value"] / found[name]["a"]["value"], 4) for name in names},
        "worse": [one["label"] for one in told["headlines"] if one["verdict"] == "worse"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of a dataset; without it nothing is trained")
    parser.add_argument("--only", nargs="*", choices=list(RUNGS), default=list(RUNGS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--file", type=Path, help="write all results there")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.data is not None:
        for seed in given.seeds:
            for name in given.only:
                measure(name, seed, given.out.resolve(), given.data.resolve(), given.epochs)
    if given.file is not None:
        given.file.write_text(json.dumps(collected(given.out), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
