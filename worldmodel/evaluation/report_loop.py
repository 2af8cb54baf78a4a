"""What rollouts show, as sections of the report's page.

Owns: words, tables and choice of pictures for the closed loop. Must not: compute a number; each one shown carries the
result's own value in `data-value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from worldmodel.evaluation import charts
from worldmodel.evaluation.dreams import FAR_UNITS, WINDOW_FRAMES
from worldmodel.evaluation.page import baselines, card, cell, legend, name_of, number, pair, raw, section, table
from worldmodel.evaluation.sums import MODEL
from worldmodel.schema import LAYOUT

Json = Mapping[str, Any]

_ACTION, _PERCENT = f"{LAYOUT.the('action_state').name}_acc", f"{LAYOUT.the('percent').name}_mae"

_CHARTS = (
    ("pos_distance", "Position: distance to the truth"),
    (_PERCENT, "Percent: error"),
    ("velocity_mae", "Velocity: error"),
    (_ACTION, "Action state: share right"),
)


_TIER_WORDS = {
    "pos_mae": "Position error",
    _ACTION: "Action state right",
    _PERCENT: "Percent error",
    "velocity_mae": "Velocity error",
}


# ---- the verdict -----------------------------------------------------------------------------------------------------


def tier_words(result: Json) -> str:
    """End of the page's first sentence."""
    tiers = result["tiers"]
    if tiers is None:
        return "."
    if tiers["reached"] is None:
        return f"; not yet {tiers['next']}."
    more = f", not yet {tiers['next']}" if tiers["next"] else ""
    return f"; {tiers['reached']}{more}."


def tiles(result: Json) -> str:
    """The few numbers that say most."""
    loop = result["closed_loop"]
    if loop is None:
        return ""
    picked: list[tuple[str, str, Json, str, str]] = []

    def curve(name: str, frames: int, title: str, unit: str) -> None:
        if frames <= loop["horizon_frames"]:
            values = {model: {"value": curves[name]["value"][frames - 1]} for model, curves in loop["models"].items()}
            picked.append((f"{name}@{frames}", title, values, unit, f"after {frames} frames"))

    curve("pos_mae", 10, "Position off by", "game units")
    curve(_ACTION, 20, "Action state right", "share")
    for event in loop["events"]:
        if event["name"] in ("hit", "death") and event["recall"]["models"][MODEL]["value"] is not None:
            plural = "Hits" if event["name"] == "hit" else "Deaths"
            near = f"within {WINDOW_FRAMES} frames, of {event['num_true']:,}"
            picked.append((event["name"], f"{plural} dreamed", event["recall"]["models"], "share", near))
    if loop["long"] is not None:
        lasted = loop["long"]["survival"]["near"]["mean_frames"]["models"]
        picked.append(("near", f"Within {FAR_UNITS:g} units for", lasted, "frames", "on average"))
    cards = []
    for key, title, models, unit, note in picked:
        value = models[MODEL]["value"]
        shown = number(value, unit) + ("" if unit == "share" else f" <small>{unit.removeprefix('game ')}</small>")
        others = "".join(
            f"<span>{escape(name_of(name))} {number(models[name]['value'], unit)}</span>" for name in baselines(models)
        )
        cards.append(
            f'<div class="tile"><p>{escape(title)}</p>'
            f'<b data-tile="{escape(key)}" data-value="{raw(value)}">{shown}</b>'
            f"<span>{escape(note)}</span>{others}</div>"
        )
    return f'<div class="tiles">{"".join(cards)}</div>'


def tiers(result: Json) -> str:
    """Which level of use is reached, and what keeps it from the next."""
    found = result["tiers"]
    if found is None:
        return ""
    names = list(found["limits"][0]["limits"])
    rows = []
    for row in found["limits"]:
        sign = "&lt;" if row["better"] == "lower" else "&gt;"
        key = f"{row['curve']}@{row['frames']}"
        cells = cell(row["value"], row["unit"], keys={"tier": key}, classes="main")
        for name in names:
            kept = row["kept"][name]
            mark = "✓" if kept else "✗"
            limit = f"{100 * row['limits'][name]:g} %" if row["unit"] == "share" else f"{row['limits'][name]:g}"
            said = "kept" if kept else "missed"
            cells += f'<td class="{said}" aria-label="{said}">{sign}\N{NO-BREAK SPACE}{limit} <b>{mark}</b></td>'
        unit = "" if row["unit"] == "share" else f", {row['unit']}"
        rows.append(
            f'<tr><th scope="row">{escape(_TIER_WORDS[row["curve"]])}'
            f'<span class="of">after {row["frames"]} frames{escape(unit)}</span></th>{cells}</tr>'
        )
    return section(
        "What the dreams are good for",
        "Watchable, good enough to train an agent in, or not to be told from the game: a level is reached if every "
        "limit of its column is kept.",
        table(["", "model", *(name.replace("guish", "\N{SOFT HYPHEN}guish") for name in names)], rows, "tiers"),
    )


# ---- drift -----------------------------------------------------------------------------------------------------------


def curves(result: Json) -> str:
    """Error over the first second."""
    loop = result["closed_loop"]
    if loop is None:
        return section("Rollouts", "None: no game is long enough for a history and a rollout.")
    units = {metric["name"]: metric["unit"] for metric in result["curves"]}
    cards = [
        card(title, units[name], {model: values[name] for model, values in loop["models"].items()})
        for name, title in _CHARTS
    ]
    note = (
        f"Error after 1 to {loop['horizon_frames']} frames on its own, after {loop['history_frames']} true frames, "
        f"with the true pads; {loop['num_rollouts']:,} rollouts from {loop['num_games']:,} games. Bands are intervals; "
        "a line that seems missing lies under another."
    )
    return section("How a dream drifts", note, legend(list(loop["models"])), pair(cards))


def survival(result: Json) -> str:
    """Long rollouts: how long a dream holds."""
    loop = result["closed_loop"]
    long = None if loop is None else loop["long"]
    if long is None:
        return ""
    titles = {
        "near": f"Share within {FAR_UNITS:g} units of the truth",
        "consistent": "Share without a contradiction so far",
        "possible": "Share without an impossible state so far",
    }
    units = {metric["name"]: metric["unit"] for metric in result["curves"]}
    at = long["points"]
    cards = [card(title, "share", long["survival"][kind]["models"], at) for kind, title in titles.items()]
    off = {model: values["off_stage"] for model, values in long["models"].items()}
    cards.append(card("Share off the stage while the truth is on it", units["off_stage"], off, at))
    names = list(dict.fromkeys(name for kind in titles for name in long["survival"][kind]["models"]))
    note = (
        f"{long['num_rollouts']:,} rollouts of {long['horizon_frames']:,} frames, fewer because they are long. "
        "The line of the truth says how often true replays themselves seem to contradict."
    )
    return section("How long a dream holds", note, legend(names), pair(cards))


# ---- pictures --------------------------------------------------------------------------------------------------------

_RANKS = {
    "typical": "Typical: the median rollout",
    "good": "Good: better than nine in ten",
    "bad": "Bad: worse than nine in ten",
    "worst": "The worst of all",
}


def dreams(result: Json) -> str:
    """Paths of a few rollouts beside the true ones."""
    loop = result["closed_loop"]
    if loop is None or not loop["examples"]:
        return ""
    figures = []
    for example in loop["examples"]:
        stage, truth, dream = example["stage"], example["truth"], example["dream"]
        title = _RANKS[example["label"]]
        where = f"{stage}; game <code>{escape(example['game'])}</code> from row {example['row']:,}"
        who = "".join(
            f'<span class="who"><i class="p{p}"></i>{escape(name)}</span>'
            for p, name in enumerate(example["characters"])
        )
        end = example["distance"][-1]
        off = "" if end is None else f", {number(end, '')} units off at the end"
        around = [*truth, *dream]
        left = charts.scene(stage, truth, [], around, label=f"true paths, {stage}")
        right = charts.scene(stage, dream, truth, around, label=f"dreamed paths, {stage}")
        figures.append(
            f'<figure class="card dream"><figcaption><span><b>{title}</b>{off}</span>'
            f"<span>{where}{who}</span></figcaption>"
            f'<div class="pair"><div class="panel"><h4>truth</h4>{left}</div>'
            f'<div class="panel"><h4>dream (truth dotted)</h4>{right}</div></div></figure>'
        )
    note = (
        f"{loop['horizon_frames']} frames from a ring to a large dot, a small dot every 20 frames. "
        "Chosen by rank of the mean distance, not by looks."
    )
    return section("Truth and dream", note, *figures)
