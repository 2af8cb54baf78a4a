"""One page for people about two runs: a function of a comparison's JSON alone.

Owns: words and pictures of the comparison. Must not: compute a number; each one shown carries the comparison's own
value in `data-value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from worldmodel.evaluation import charts
from worldmodel.evaluation.dreams import FAR_UNITS
from worldmodel.evaluation.page import cell, interval, page, section, table
from worldmodel.schema import LAYOUT

Json = Mapping[str, Any]

_CHIPS = {
    "better": ("beats", "B better", "the whole interval of the difference says so"),
    "worse": ("loses", "B worse", "the whole interval of the difference says so"),
    "undecided": ("undecided", "undecided", "the interval of the difference holds zero"),
    "differs": ("undecided", "differs", "neither side is the good one"),
    "unknown": ("unknown", "no interval", "too few games for an interval"),
}

_CHARTS = (
    ("pos_distance", "Position: distance to the truth"),
    (f"{LAYOUT.the('percent').name}_mae", "Percent: error"),
    ("velocity_mae", "Velocity: error"),
    (f"{LAYOUT.the('action_state').name}_acc", "Action state: share right"),
)


def render(found: Json) -> str:
    """The page, as text."""
    rows = {row["name"]: row for row in found["measures"]}
    sections = [_head(found), _alerts(found), _headlines(found), _curves(rows), _rest(found, rows), _provenance(found)]
    return page(f"{found['a']['run']} and {found['b']['run']}", sections)


def _head(found: Json) -> str:
    a, b = (escape(found[side]["run"]) for side in ("a", "b"))
    verdicts = [row["verdict"] for row in found["headlines"]]
    better, worse, num = verdicts.count("better"), verdicts.count("worse"), len(verdicts)
    if found["same_weights"]:
        lead = f"{b} and {a} are the same weights."
    elif better and worse:
        lead = f"{b} is better than {a} on {better} of {num} headline numbers, and worse on {worse}."
    elif better or worse:
        lead = f"{b} is {'better' if better else 'worse'} than {a} on {better or worse} of {num} headline numbers."
    else:
        lead = f"No headline number tells {b} from {a}."
    data = found["data"]
    kind = "held-out" if data["held_out"] else "training"
    who = "; ".join(
        f"{label} is {escape(side['run'])} ({escape(side['arch'])}, {side['num_parameters'] / 1e6:.2f} M parameters, "
        f"step {side['step']:,})"
        for label, side in (("A", found["a"]), ("B", found["b"]))
    )
    return (
        f'<header><h1>A and B</h1><p class="lead" data-better="{better}" data-worse="{worse}">{lead}</p>'
        f'<p class="sub">{who}. The same frames and starts of {data["num_games"]:,} {kind} games.</p></header>'
    )


def _alerts(found: Json) -> str:
    notes = list(found["notes"])
    if not found["data"]["held_out"]:
        notes.insert(0, "TRAINING GAMES: no claim rests on this")
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f'<div class="alert mild" role="note">{lines}</div>' if notes else ""


def _headlines(found: Json) -> str:
    settings = found["settings"]
    note = (
        f"B minus A on the same games, with {100 * settings['level']:g} % intervals from "
        f"{settings['num_resamples']:,} draws of whole games. Detectable: the smallest true difference that these "
        f"games would have shown in {100 * settings['power']:g} of 100 such evaluations."
    )
    rows = [_line(row, row["label"], row["where"]) for row in found["headlines"]]
    return section("Headline numbers", note, table(_HEADER, rows, "compare"))


_HEADER = ("", "A", "B", "B − A", "", "detectable", "verdict")


def _line(row: Json, label: str, where: str) -> str:
    keys, unit, gap = {"measure": row["name"]}, row["unit"], row["difference"]
    apart = "points" if unit == "share" else unit
    told = "" if unit in ("share", "loss") else f", {unit}"
    side = {"higher": "; higher is better", "lower": "; lower is better", "neither": ""}[row["better"]]
    style, text, why = _CHIPS[row["verdict"]]
    cells = cell(row["a"]["value"], unit, keys=keys | {"side": "a", "label": "A"})
    cells += cell(row["b"]["value"], unit, keys=keys | {"side": "b", "label": "B"})
    cells += cell(gap["value"], apart, keys=keys | {"side": "difference", "label": "B − A"}, classes="main").replace(
        "</td>", f'<span class="of">{interval(gap, apart)}</span></td>'
    )
    cells += f'<td class="whisker">{_whisker(gap, row["smallest_detectable"], style)}</td>'
    cells += cell(row["smallest_detectable"], apart, keys=keys | {"side": "detectable", "label": "detectable"})
    return (
        f'<tr><th scope="row">{escape(label)}<span class="of">{escape(where + told + side)}</span></th>{cells}'
        f'<td class="verdict"><span class="chip {style}" title="{escape(why)}">{text}</span></td></tr>'
    )


def _whisker(gap: Json, detectable: float | None, style: str) -> str:
    """The interval about its value, beside zero. Each row has its own scale: this is about sides, not sizes."""
    if gap["low"] is None or gap["high"] is None or gap["value"] is None:
        return ""
    reach = max(abs(gap["low"]), abs(gap["high"]), detectable or 0.0) or 1.0

    def x(value: float) -> str:
        return f"{60 + 54 * value / reach:.1f}"

    return (
        '<svg viewBox="0 0 120 16" aria-hidden="true"><line class="zero" x1="60" x2="60" y1="1" y2="15"/>'
        f'<line class="reach {style}" x1="{x(gap["low"])}" x2="{x(gap["high"])}" y1="8" y2="8"/>'
        f'<circle class="middle {style}" cx="{x(gap["value"])}" cy="8" r="3.6"/></svg>'
    )


def _curves(rows: Mapping[str, Json]) -> str:
    cards = []
    for name, title in _CHARTS:
        line: list[Json] = []
        while (key := f"uniform/{name}@{len(line) + 1}") in rows:
            line.append(rows[key])
        if not line:
            continue
        share, better = line[0]["unit"] == "share", line[0]["better"]
        values = {key: [row["difference"][key] for row in line] for key in ("value", "low", "high")}
        picture = charts.curves({"m0": values}, share=share, label=f"difference in {title}")
        unit = "" if share else f", {line[0]['unit']}"
        good = "above" if better == "higher" else "below"
        told = f' <span class="range">{good} zero B is better{escape(unit)}</span>'
        cards.append(f'<figure class="card"><h3>{escape(title)}{told}</h3>{picture}</figure>')
    if not cards:
        return ""
    return section(
        "Difference over the first second",
        "B minus A in rollouts from the same starts, with the true pads.",
        f'<div class="pair">{"".join(cards)}</div>',
    )


def _rest(found: Json, rows: Mapping[str, Json]) -> str:
    """Everything that is not a point of a curve."""
    groups = {
        "What happens in dreams": ("event/", "start/"),
        "How long dreams hold, and what they contradict": ("survival/", "contradiction/", "impossible/"),
        "One step ahead": ("step/",),
    }
    counts = found["counts"]
    note = (
        f"Of {sum(counts.values()):,} numbers, curves included, B is better on {counts['better']:,} and worse on "
        f"{counts['worse']:,}; between equals chance alone gives about one verdict in twenty."
    )
    parts = []
    for title, prefixes in groups.items():
        chosen = [row for name, row in rows.items() if name.startswith(prefixes) and "@" not in name]
        lines = [_line(row, _title(row["name"]), row["what"]) for row in chosen]
        if lines:
            parts.append(f"<details><summary>{title}</summary>{table(_HEADER, lines, 'compare')}</details>")
    return section("Everything else", note, *parts)


def _title(name: str) -> str:
    where, _, rest = name.partition("/")
    rest = rest.replace("/", ", ").replace("_", " ")
    if name == "survival/near":
        return f"frames within {FAR_UNITS:g} units"
    return rest if where != "start" else f"{rest}, from just before it"


def _provenance(found: Json) -> str:
    items = [
        ("weights of A", f"<code>{escape(found['a']['sha256'])}</code>"),
        ("weights of B", f"<code>{escape(found['b']['sha256'])}</code>"),
        ("data", f"{escape(found['data']['name'])}, <code>{escape(found['data']['content_hash'])}</code>"),
        ("starts", f"<code>{escape(found['starts']['digest'])}</code>"),
    ]
    lines = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in items)
    return f"<section><h2>Provenance</h2><dl>{lines}</dl></section>"
