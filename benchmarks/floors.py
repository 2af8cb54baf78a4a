"""Every floor that was asked for, beside what was measured: one table, from the filed JSON lines of all scripts.

    python benchmarks/floors.py > docs/floors.md

Measures nothing. A floor without a filed line says so, as those do whose machine was not at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RELEASED = Path(__file__).parents[1] / "worldmodel" / "released"
Told = dict[str, Any]

HEAD = """\
# Floors

Written by `benchmarks/floors.py` from the JSON lines in [benchmarks/results](../benchmarks/results), each of which is
the last line that its script printed. *at least*, *at most*: what was asked for.

| what | asked | measured | | by | on, date |
|---|--:|--:|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Floor:
    """One claim. benchmark: name in its JSON line; reads: the number in it; compiled: as that line says, if it does;
    hardware: how the name of its file begins."""

    what: str
    asked: str
    script: str
    benchmark: str
    reads: Callable[[Told], float]
    compiled: bool | None = None
    hardware: str = "cpu"

    def holds(self, value: float) -> bool:
        """Whether a number is what was asked for."""
        word, _, limit = self.asked.rpartition(" ")
        return value >= float(limit) if word == "at least" else value <= float(limit)


@dataclass(frozen=True, slots=True)
class Line:
    """A JSON line as it was filed."""

    told: Told
    file: Path
    hardware: str
    date: str


def _times(case: str) -> Callable[[Told], float]:
    return lambda told: float(told["cases"][case]["times_stand_in"])


def _impossible(told: Told) -> float:
    """Player-frames that cannot be, over all policies; contradictions, in brackets, are likely only."""
    policies = [one for one in told.values() if isinstance(one, dict) and "player_frames" in one]
    assert policies, "no policy played"
    assert all(one["frames"] >= 1_000_000 for one in policies), "fewer than a million frames"
    return float(sum(num for one in policies for kind, num in one["player_frames"].items() if not kind.startswith("(")))


def _parity(told: Told) -> float:
    logits = told["fed_with_truth"]["logits"]
    return float(max(worst for name in ("graph_step", "graph_rows") for worst in logits[name].values()))


def _kills(told: Told) -> float:
    assert told["num_kills"] >= 100
    return float(len(told["differences"]))


def _frames_per_s(told: Told) -> float:
    return max(
        rate for key, one in told["results"].items() if key[:4] == "card" for rate in one["frames_per_s"].values()
    )


def _worst_ratio(what: str) -> Callable[[Told], float]:
    return lambda told: max(float(ratio) for name, ratio in told["ratios"].items() if what in name)


def _epoch_s(case: str) -> Callable[[Told], float]:
    return lambda told: min(
        float(one["mission_epoch_s"]) for name, one in told["cases"].items() if name.startswith(case)
    )


FLOORS = (
    Floor(
        "ingest, one process, over `peppi_py.read_slippi`",
        "at least 0.8",
        "ingest.py",
        "ingest",
        lambda told: told["share_of_peppi"]["ingest, 1 process"],
    ),
    Floor(
        "bytes per frame stored, both players", "at most 140", "store.py", "store", lambda told: told["bytes_per_frame"]
    ),
    Floor("bytes per frame packed", "at most 20", "store.py", "store", lambda told: told["packed_bytes_per_frame"]),
    Floor(
        "loader, times a per-sample loader",
        "at least 150",
        "loader.py",
        "loader",
        lambda told: told["cases"]["words"]["vs_naive"],
    ),
    Floor(
        "windows of 10, times the field's form, eager",
        "at least 2.7",
        "train_step.py",
        "train_step",
        _times("card, windows K = 10"),
        compiled=False,
    ),
    Floor(
        "the same, compiled",
        "at least 2.7",
        "train_step.py --compile",
        "train_step",
        _times("card, windows K = 10"),
        compiled=True,
    ),
    Floor(
        "sequences of 256, times the field's form, eager",
        "at least 16",
        "train_step.py",
        "train_step",
        _times("card, sequences of 256"),
        compiled=False,
    ),
    Floor(
        "the same, compiled",
        "at least 16",
        "train_step.py --compile",
        "train_step",
        _times("card, sequences of 256"),
        compiled=True,
    ),
    Floor("differences after 100 SIGKILLs", "at most 0", "kill.py --kills 100", "kill", _kills, compiled=False),
    Floor(
        "ends of a scripted night that are told wrong", "at most 0", "night.py", "night", lambda told: told["num_wrong"]
    ),
    Floor(
        "rollout of one stream, times re-running a window",
        "at least 5",
        "rollout.py",
        "rollout",
        lambda told: told["results"]["card, 1"]["best_over_field_rerun"],
    ),
    Floor(
        "rollout of 256 streams, times re-running windows",
        "at least 10",
        "rollout.py",
        "rollout",
        lambda told: told["results"]["card, 256"]["best_over_field_rerun"],
    ),
    Floor(
        "impossible player-frames of a million frames a policy",
        "at most 0",
        "env.py --million",
        "env_million",
        _impossible,
    ),
    Floor("ONNX float32 against the model over 600 frames", "at most 1e-4", "`worldmodel export`", "parity", _parity),
    Floor(
        "a frame of the released world in the browser, median ms",
        "at most 4",
        "web_step.py",
        "web_step",
        lambda told: told["rows"][0]["median_ms"],
    ),
    Floor(
        "the same, 99th percentile",
        "at most 12",
        "web_step.py",
        "web_step",
        lambda told: told["rows"][0]["p99_ms"],
    ),
    Floor(
        "first view of 200 runs and 2,000 games, ms, slowest page",
        "at most 1000",
        "ui_start.py",
        "ui_start",
        lambda told: max(page["first"] for page in told["ms"].values()),
    ),
    Floor(
        "position error of the released world over the mission's recipe's, worst of 5, 10, 20 frames",
        "at most 0.667",
        "recipes/against.py",
        "against_card",
        _worst_ratio("pos_mae"),
    ),
    Floor(
        "the same of its percent error", "at most 0.5", "recipes/against.py", "against_card", _worst_ratio("percent")
    ),
    Floor(
        "headline measures in which it is worse",
        "at most 0",
        "recipes/against.py",
        "against_card",
        lambda told: float(len(told["worse"])),
    ),
    Floor(
        "the mission's epoch in windows of 10, s, one H200",
        "at most 240",
        "epoch.py --device cuda",
        "epoch",
        _epoch_s("window"),
        hardware="h200",
    ),
    Floor(
        "the same in sequences", "at most 50", "epoch.py --device cuda", "epoch", _epoch_s("sequence"), hardware="h200"
    ),
    Floor(
        "frames/s of the card's model in the environment, one H200",
        "at least 3000000",
        "rollout.py --device cuda",
        "rollout",
        _frames_per_s,
        hardware="h200",
    ),
)


def filed(folder: Path = RESULTS) -> Iterator[Line]:
    """Every JSON line that stands in a result, oldest first, and the parity report that ships."""
    paths = [path for path in folder.glob("*.md") if re.fullmatch(r".+_[^_]+_\d{8}", path.stem)]
    for path in sorted(paths, key=lambda path: path.stem.rsplit("_", 1)[1]):
        _, hardware, date = path.stem.rsplit("_", 2)
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith('{"benchmark"'):
                yield Line(json.loads(line), path, hardware, f"{date[:4]}-{date[4:6]}-{date[6:]}")
    parity, result = (json.loads((RELEASED / name).read_text()) for name in ("parity.json", "result.json"))
    yield Line({"benchmark": "parity", **parity}, RELEASED / "parity.json", "cpu2", result["created_at"][:10])


def newest(floor: Floor, lines: list[Line]) -> Line | None:
    """The last filed line that a floor reads."""
    found = None
    for line in lines:
        is_its_own = line.told["benchmark"] == floor.benchmark and line.hardware.startswith(floor.hardware)
        if is_its_own and line.told.get("compiled") in (floor.compiled, None):
            found = line
    return found


def page(lines: list[Line]) -> str:
    """The table."""
    rows = []
    for floor in FLOORS:
        line = newest(floor, lines)
        if line is None:
            why = "nothing is filed" if floor.hardware == "cpu" else f"no {floor.hardware.upper()} was at hand"
            cells = ["", "**not measured**", f"`{floor.script}`", why]
        else:
            value = floor.reads(line.told)
            verdict = "kept" if floor.holds(value) else "**not kept**"
            cells = [f"{value:,.3g}", verdict, f"`{floor.script}`".replace("``", "`"), f"{line.hardware}, {line.date}"]
        rows.append(" | ".join(["", floor.what, floor.asked, *cells, ""]).strip())
    return "\n".join([HEAD, *rows])


if __name__ == "__main__":
    print(page(list(filed())))
