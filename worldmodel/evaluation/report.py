"""One page for people: a function of `result.json` alone, with no other file or host behind it.

Owns: order of the page, its verdict, what is said one step ahead, provenance. Must not: compute a number; each one
shown carries the result's own value in `data-value`. What rollouts show: `report_loop.py`; parts: `page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from worldmodel.evaluation import report_events, report_loop
from worldmodel.evaluation.page import cell, interval, name_of, page, table
from worldmodel.evaluation.sums import MODEL

Json = Mapping[str, Any]

_VERDICTS = {
    "beats": ("beats", "better than every baseline, with the whole interval"),
    "loses": ("loses", "worse than some baseline, with the whole interval"),
    "undecided": ("undecided", "the interval of a difference holds zero"),
    "unknown": ("no interval", "too few games for an interval"),
}


def render(result: Json) -> str:
    """The page, as text."""
    units = {metric["name"]: metric for metric in result["metrics"]}
    sections = [
        _head(result),
        _alerts(result),
        report_loop.tiles(result),
        report_loop.tiers(result),
        report_loop.curves(result),
        report_loop.dreams(result),
        report_events.events(result),
        report_loop.survival(result),
        report_events.contradictions(result),
        report_events.counterfactuals(result),
        _headlines(result),
        _breakdown(result, units),
        _losses(result),
        _sanity(result),
        _everything(result, units),
        _provenance(result),
    ]
    return page(f"{result['run']}: evaluation", sections)


# ---- sections --------------------------------------------------------------------------------------------------------


def _head(result: Json) -> str:
    rows = result["headlines"]
    won = sum(row["verdict"] == "beats" for row in rows)
    names = [name_of(name) for name in rows[0]["models"] if name != MODEL]
    if won == len(rows):
        lead = f"Better than {' and '.join(names)} on all {won} headline numbers"
    elif won == 0:
        lead = f"Not better than {' or '.join(names)} on any of {len(rows)} headline numbers"
    else:
        lead = f"Better than {' and '.join(names)} on {won} of {len(rows)} headline numbers"
    lead += report_loop.tier_words(result)
    data, weights, step = result["data"], result["weights"], result["teacher_forced"]
    kind = "held-out" if data["held_out"] else "training"
    what = (
        f"{weights['arch']}, {weights['num_parameters'] / 1e6:.2f} M parameters, step {weights['step']:,}. "
        f"Measured on {data['num_games']:,} {kind} games: {step['num_frames']:,} frames one step ahead"
    )
    loop = result["closed_loop"]
    if loop is not None:
        what += f", {loop['num_rollouts']:,} rollouts of {loop['horizon_frames']} frames with the true pads"
    return (
        f'<header><h1>{escape(result["run"])}</h1><p class="lead" data-won="{won}">{lead}</p>'
        f'<p class="sub">{escape(what)}.</p></header>'
    )


def _alerts(result: Json) -> str:
    out = ""
    if result["warnings"]:
        lines = "".join(f"<p>{escape(text)}</p>" for text in result["warnings"])
        out += f'<div class="alert" role="alert">{lines}</div>'
    return out


def _headlines(result: Json) -> str:
    names = [name for name in result["headlines"][0]["models"] if name != MODEL]
    rows = []
    for row in result["headlines"]:
        own = row["models"][MODEL]
        keys = {"headline": row["name"]}
        text, why = _VERDICTS[row["verdict"]]
        if own["value"] is None:
            text, why = "none", own["reason"] or ""
        unit = "" if row["unit"] in ("share", "loss") else f", {row['unit']}"
        arrow = "higher is better" if row["better"] == "higher" else "lower is better"
        cells = cell(own["value"], row["unit"], keys=keys | {"model": MODEL}, classes="main")
        cells += f'<td class="range">{interval(own, row["unit"])}</td>'
        for name in names:
            naive = row["models"][name]["value"]
            cells += cell(naive, row["unit"], keys=keys | {"model": name, "name": name_of(name)}, classes="naive")
        rows.append(
            f'<tr><th scope="row">{escape(row["name"])}'
            f'<span class="of">{escape(row["where"] + unit)}; {arrow}</span></th>{cells}'
            f'<td class="verdict"><span class="chip {row["verdict"]}" title="{escape(why)}">{text}</span></td></tr>'
        )
    level = f"{100 * result['settings']['level']:g} %"
    return (
        "<section><h2>Headline numbers</h2>"
        f'<p class="note">Ranges are {level} intervals from {result["settings"]["num_resamples"]:,} draws of whole '
        "games. The verdict is about the difference to each baseline on the same games.</p>"
        + table(["", "model", level, *map(name_of, names), "verdict"], rows, "headlines")
        + "</section>"
    )


def _breakdown(result: Json, units: Mapping[str, Json]) -> str:
    step = result["teacher_forced"]
    parts = []
    for key, title in (("by_stage", "Stage"), ("by_character", "Character")):
        groups = step[key]
        if not groups:
            continue
        names = list(groups[0]["models"][MODEL])
        rows = []
        for group in groups:
            cells = f"<td>{group['num_games']:,}</td>"
            for name in names:
                cells += cell(
                    group["models"][MODEL][name],
                    units[name]["unit"],
                    keys={"group": group["name"], "metric": name},
                )
            rows.append(f'<tr><th scope="row">{escape(group["name"])}</th>{cells}</tr>')
        parts.append(table([title, "games", *names], rows))
    return (
        "<section><h2>Where it is good and where not</h2>"
        '<p class="note">One step ahead. A character counts the frames of the player who plays it. '
        "Rows of few games say little.</p>" + "<br>".join(parts) + "</section>"
    )


def _losses(result: Json) -> str:
    return _metrictable(
        result, "Loss by group", lambda name: name.startswith("loss/"), "What training minimises, on these frames."
    )


def _everything(result: Json, units: Mapping[str, Json]) -> str:
    table = _metric_rows(result, [name for name in units if not name.startswith("loss/")])
    return f"<details><summary>Every metric, one step ahead</summary>{table}</details>"


def _metrictable(result: Json, title: str, wanted: Any, note: str) -> str:
    names = [name for name in result["teacher_forced"]["models"][MODEL] if wanted(name)]
    return f'<section><h2>{title}</h2><p class="note">{note}</p>{_metric_rows(result, names)}</section>'


def _metric_rows(result: Json, names: Sequence[str]) -> str:
    step = result["teacher_forced"]
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    naive = [name for name in step["models"] if name != MODEL]
    rows = []
    for name in names:
        own, metric = step["models"][MODEL][name], metrics[name]
        cells = cell(own["value"], metric["unit"], keys={"metric": name, "model": MODEL}, classes="main")
        cells += f'<td class="range">{interval(own, metric["unit"])}</td>'
        for other in naive:
            cells += cell(step["models"][other][name]["value"], metric["unit"], keys={"metric": name, "model": other})
        unit = "" if metric["unit"] in ("share", "loss") else f", {metric['unit']}"
        what = f'<span class="of">{escape(metric["definition"] + unit)}</span>'
        rows.append(f'<tr><th scope="row">{escape(name.removeprefix("loss/"))}{what}</th>{cells}</tr>')
    level = f"{100 * result['settings']['level']:g} %"
    return table(["", "model", level, *map(name_of, naive)], rows)


def _sanity(result: Json) -> str:
    parts = []
    if result["canaries"]:
        lines = "".join(f"<p>{escape(text)}</p>" for text in result["canaries"])
        parts.append(f'<div class="alert mild" id="canaries">{lines}</div>')
    else:
        parts.append('<p class="note">No metric is suspiciously exact, constant, or equal to a baseline.</p>')
    return "<section><h2>Too good, too bad, too strange</h2>" + "".join(parts) + "</section>"


def _provenance(result: Json) -> str:
    data, weights, code, settings = result["data"], result["weights"], result["code"], result["settings"]
    same = {True: "the run's training dataset", False: "another dataset than the run's", None: "not recorded"}
    commit = code["git_sha"] or "not a checkout"
    rows = [
        ("weights", f"<code>{escape(weights['sha256'])}</code> (step {weights['step']:,})"),
        ("data", f"{escape(data['name'])}, <code>{escape(data['content_hash'])}</code>"),
        ("which is", f"{same[data['is_the_training_dataset']]}; split {escape(data['split'])}"),
        ("code", f"worldmodel {escape(code['version'])}, <code>{escape(commit)}</code>{' + changes' * code['dirty']}"),
        ("codec", f"<code>{escape(weights['codec_hash'])}</code>"),
        (
            "starts",
            f"<code>{escape(result['starts']['digest'])}</code> ("
            + ", ".join(f"{found['num_starts']:,} {name}" for name, found in result["starts"]["lists"].items())
            + ")",
        ),
        (
            "windows",
            f"{settings['length']} tokens, {settings['burn_in']} not scored; seed {settings['seed']}; "
            f"{result['teacher_forced']['num_frames']:,} of "
            f"{result['teacher_forced']['num_possible_frames']:,} frames scored",
        ),
        ("made", f"{escape(result['created_at'])}, in {result['seconds']:,} s"),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f"<section><h2>Provenance</h2><dl>{items}</dl></section>"
