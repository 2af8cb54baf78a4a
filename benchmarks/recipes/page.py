"""`docs/results.md` from filed results of the ladder.

python benchmarks/recipes/page.py benchmarks/results/recipes_cpu2_20261123.json > docs/results.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HEAD = """\
# Results: which recipe, and what each part of it brings

Written by `benchmarks/recipes/page.py` from `{file}`; every number is of games that the model has not seen.

Each rung is one change to the rung below, a training of {epochs} passes over the training games of one dataset
(`{content_hash}`, {num_frames:,} frames with the held-out ones) on a model of `tiny`'s size, with a card of its own,
measured by `worldmodel eval` on {num_games} held-out games. **▲** better than the rung it stands on, **▼** worse, by
a paired 95 % interval over games; no sign: it cannot be told (between windows of 10 and sequences, one step ahead
never: they score other frames).
Seeds: {seeds}. Where that is one, the interval knows of games and not of seeds: a small step may be luck.

| rung | stands on | what changes | {titles} |
|---|---|---|{rules}
"""
RARE_HEAD = """\
In dreams of 60 frames: the share of the true hits and deaths that the dream has too, and of its own the share that are
true. In dreams of 600: stocks away from the truth, and the share of dreams with nothing impossible to the end. A recall
says nothing without its precision: the mission's recipe sees nine hits of ten by seeing one in every frame.

| rung | {titles} |
|---|{rules}"""
SIGNS = {"better": " ▲", "worse": " ▼", "undecided": "", "unknown": " ?"}
TITLES = {
    "step/change_acc": "change_acc",
    "step/pos_mae": "pos_mae",
    "step/percent_mae": "percent_mae",
    "uniform/pos_mae@5": "position after 5",
    "uniform/pos_mae@10": "10",
    "uniform/pos_mae@20": "20",
    "uniform/percent_mae@5": "percent after 5",
    "uniform/percent_mae@20": "20 frames",
    "uniform/action_state_acc@20": "action state after 20",
}
RARE = {
    "event/hit/recall": "hits seen",
    "event/hit/precision": "are hits",
    "event/death/recall": "deaths seen",
    "event/death/precision": "are deaths",
    "long/stocks_error@600": "stocks wrong after 600",
    "survival/possible@600": "possible to 600",
}
"""The second table: what happens seldom, and what ten seconds come to."""


def cell(measure: dict[str, Any]) -> str:
    """A value, and what it is to the rung below."""
    value = measure["value"]
    if value is None:
        return ""
    text = f"{value:.1%}" if measure["unit"] == "share" else f"{value:.3g}"
    difference = measure.get("difference")
    return text + ("" if difference is None else SIGNS[difference["verdict"]])


def mean_cell(seeds: dict[str, Any], name: str) -> str:
    """Of one seed the cell; of more their mean, with the sign that all agree on whose rung below was measured too."""
    measures = [of["measures"][name] for of in seeds.values()]
    if len(measures) == 1:
        return cell(measures[0])
    values = [one["value"] for one in measures]
    verdicts = {one["difference"]["verdict"] for one in measures if one.get("difference")}
    whole = dict(measures[0]) | {"value": sum(values) / len(values)}
    whole["difference"] = {"verdict": verdicts.pop()} if len(verdicts) == 1 else None
    return cell(whole)


def against(told: dict[str, Any]) -> list[str]:
    """The last rungs against the mission's recipe, in words."""
    lines = ["", "## Against the mission's recipe", ""]
    lines += [
        "Error of each rung as a share of the mission's recipe's, on the same frames for the same number of passes.",
        "",
        "| rung | position after 5 | 10 | 20 | percent after 5 | 10 | 20 | worse in |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, rung in told["rungs"].items():
        of = next(iter(rung["seeds"].values()))
        if not (card := of.get("against_card")):
            continue
        ratios = [f"{card['ratios'][measure]:.2f}" for measure in card["ratios"]]
        worse = ", ".join(card["worse"]) or "nothing"
        lines.append(f"| {name} | {' | '.join(ratios)} | {worse} |")
    return lines


def page(told: dict[str, Any], file: str) -> str:
    """The whole page."""
    rungs = told["rungs"]
    first = next(iter(next(iter(rungs.values()))["seeds"].values()))
    seeds = sorted({len(rung["seeds"]) for rung in rungs.values()})
    text = HEAD.format(
        file=file,
        epochs=told["epochs"],
        num_frames=told["num_frames"],
        content_hash=first["data"]["content_hash"][:16],
        num_games=first["data"]["num_games"],
        seeds=" or ".join(map(str, seeds)),
        titles=" | ".join(TITLES.values()),
        rules="--:|" * len(TITLES),
    )
    rows = []
    for name, rung in rungs.items():
        cells = " | ".join(mean_cell(rung["seeds"], measure) for measure in TITLES)
        rows.append(f"| **{name}** | {rung['on'] or ''} | {rung['says']} | {cells} |")
    seldom = [
        "",
        "## What happens seldom",
        "",
        RARE_HEAD.format(titles=" | ".join(RARE.values()), rules="--:|" * len(RARE)),
    ]
    for name, rung in rungs.items():
        seldom.append(f"| {name} | {' | '.join(mean_cell(rung['seeds'], measure) for measure in RARE)} |")
    changes = ["", "## The changes as overrides", ""]
    changes += [f"- **{name}**: " + " ".join(f"`{one}`" for one in rung["overrides"]) for name, rung in rungs.items()
                if rung["overrides"]]  # fmt: skip
    return text + "\n".join([*rows, *seldom, *against(told), *changes]) + "\n"


def main() -> None:
    file = Path(sys.argv[1])
    print(page(json.loads(file.read_text(encoding="utf-8")), file.as_posix()), end="")


if __name__ == "__main__":
    main()
