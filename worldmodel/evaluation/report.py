"""One page for people: a function of `result.json` alone, with no other file or host behind it.

Owns: words, order and formats of the page. Must not: compute a number; each one shown carries the result's own value
in `data-value`. Style: `report.css`; pictures: `charts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from worldmodel.evaluation import charts
from worldmodel.evaluation.sums import MODEL
from worldmodel.schema import LAYOUT

Json = Mapping[str, Any]

_CHARTS = (
    ("pos_distance", "Position: distance to the truth"),
    (f"{LAYOUT.the('percent').name}_mae", "Percent: error"),
    ("velocity_mae", "Velocity: error"),
    (f"{LAYOUT.the('action_state').name}_acc", "Action state: share right"),
)

_VERDICTS = {
    "beats": ("beats", "better than every baseline, with the whole interval"),
    "loses": ("loses", "worse than some baseline, with the whole interval"),
    "undecided": ("undecided", "the interval of a difference holds zero"),
    "unknown": ("no interval", "too few games for an interval"),
}


def render(result: Json) -> str:
    """The page, as text."""
    style = files("worldmodel.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    units = {metric["name"]: metric for metric in result["metrics"]}
    sections = [
        _head(result),
        _alerts(result),
        _headlines(result),
        _curves(result, units),
        _dreams(result),
        _breakdown(result, units),
        _losses(result),
        _sanity(result),
        _everything(result, units),
        _provenance(result),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(str(result['run']))}: evaluation</title><style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


# ---- formats ---------------------------------------------------------------------------------------------------------


def number(value: float | None, unit: str) -> str:
    """A value as people read it: shares in percent, the rest to three significant digits."""
    if value is None:
        return "–"
    if unit == "share":
        digits = 1 if value < 0.9995 or value == 1 else 2
        return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:#.3g}".removesuffix(".")


def _range(estimate: Json, unit: str) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{number(estimate['low'], unit)} – {number(estimate['high'], unit)}"


def _cell(value: float | None, unit: str, *, keys: Mapping[str, str], classes: str = "") -> str:
    """A table cell that carries the result's own number, and whose it is."""
    told = "".join(f' data-{key}="{escape(text)}"' for key, text in keys.items())
    raw = "null" if value is None else repr(value)
    return f'<td class="{classes}"{told} data-value="{raw}">{number(value, unit)}</td>'


def _name(model: str) -> str:
    return model.replace("_", "\N{NON-BREAKING HYPHEN}")


def _table(header: Sequence[str], rows: Sequence[str], classes: str = "") -> str:
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    return (
        f'<div class="scroll"><table class="{classes}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# ---- sections --------------------------------------------------------------------------------------------------------


def _head(result: Json) -> str:
    rows = result["headlines"]
    won = sum(row["verdict"] == "beats" for row in rows)
    names = [_name(name) for name in rows[0]["models"] if name != MODEL]
    if won == len(rows):
        lead = f"Better than {' and '.join(names)} on all {won} headline numbers."
    elif won == 0:
        lead = f"Not better than {' or '.join(names)} on any of {len(rows)} headline numbers."
    else:
        lead = f"Better than {' and '.join(names)} on {won} of {len(rows)} headline numbers."
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
        cells = _cell(own["value"], row["unit"], keys=keys | {"model": MODEL}, classes="main")
        cells += f'<td class="range">{_range(own, row["unit"])}</td>'
        for name in names:
            naive = row["models"][name]["value"]
            cells += _cell(naive, row["unit"], keys=keys | {"model": name, "name": _name(name)}, classes="naive")
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
        + _table(["", "model", level, *map(_name, names), "verdict"], rows, "headlines")
        + "</section>"
    )


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 26 10" aria-hidden="true"><path class="line m{i}" d="M1 5L25 5"/></svg>'
        f"{escape(_name(name))}</li>"
        for i, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def _curves(result: Json, units: Mapping[str, Json]) -> str:
    loop = result["closed_loop"]
    if loop is None:
        return (
            "<section><h2>Rollouts</h2><p class='note'>None: no game is long enough for a history and a rollout.</p>"
            "</section>"
        )
    cards = []
    for name, title in _CHARTS:
        metric = units[name]
        share = metric["unit"] == "share"
        unit = "" if share else f' <span class="range">{escape(metric["unit"])}</span>'
        picture = charts.curves(
            {model: values[name] for model, values in loop["models"].items()}, share=share, label=title
        )
        cards.append(f'<figure class="card"><h3>{escape(title)}{unit}</h3>{picture}</figure>')
    return (
        "<section><h2>How a dream drifts</h2>"
        f'<p class="note">Error after 1 to {loop["horizon_frames"]} frames on its own, after '
        f"{loop['history_frames']} true frames; {loop['num_rollouts']:,} rollouts from {loop['num_games']:,} games. "
        "Bands are intervals; a line that seems missing lies under another.</p>"
        + _legend(list(loop["models"]))
        + f'<div class="pair">{"".join(cards)}</div></section>'
    )


_RANKS = {
    "typical": "Typical: the median rollout",
    "good": "Good: better than nine in ten",
    "bad": "Bad: worse than nine in ten",
    "worst": "The worst of all",
}


def _dreams(result: Json) -> str:
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
    return (
        "<section><h2>Truth and dream</h2>"
        f'<p class="note">{loop["horizon_frames"]} frames from a ring to a large dot, a small dot every 20 frames. '
        "Chosen by rank of the mean distance, not by looks.</p>" + "".join(figures) + "</section>"
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
                cells += _cell(
                    group["models"][MODEL][name],
                    units[name]["unit"],
                    keys={"group": group["name"], "metric": name},
                )
            rows.append(f'<tr><th scope="row">{escape(group["name"])}</th>{cells}</tr>')
        parts.append(_table([title, "games", *names], rows))
    return (
        "<section><h2>Where it is good and where not</h2>"
        '<p class="note">One step ahead. A character counts the frames of the player who plays it. '
        "Rows of few games say little.</p>" + "<br>".join(parts) + "</section>"
    )


def _losses(result: Json) -> str:
    return _metric_table(
        result, "Loss by group", lambda name: name.startswith("loss/"), "What training minimises, on these frames."
    )


def _everything(result: Json, units: Mapping[str, Json]) -> str:
    table = _metric_rows(result, [name for name in units if not name.startswith("loss/")])
    return f"<details><summary>Every metric, one step ahead</summary>{table}</details>"


def _metric_table(result: Json, title: str, wanted: Any, note: str) -> str:
    names = [name for name in result["teacher_forced"]["models"][MODEL] if wanted(name)]
    return f'<section><h2>{title}</h2><p class="note">{note}</p>{_metric_rows(result, names)}</section>'


def _metric_rows(result: Json, names: Sequence[str]) -> str:
    step = result["teacher_forced"]
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    naive = [name for name in step["models"] if name != MODEL]
    rows = []
    for name in names:
        own, metric = step["models"][MODEL][name], metrics[name]
        cells = _cell(own["value"], metric["unit"], keys={"metric": name, "model": MODEL}, classes="main")
        cells += f'<td class="range">{_range(own, metric["unit"])}</td>'
        for other in naive:
            cells += _cell(step["models"][other][name]["value"], metric["unit"], keys={"metric": name, "model": other})
        unit = "" if metric["unit"] in ("share", "loss") else f", {metric['unit']}"
        what = f'<span class="of">{escape(metric["definition"] + unit)}</span>'
        rows.append(f'<tr><th scope="row">{escape(name.removeprefix("loss/"))}{what}</th>{cells}</tr>')
    level = f"{100 * result['settings']['level']:g} %"
    return _table(["", "model", level, *map(_name, naive)], rows)


def _sanity(result: Json) -> str:
    loop = result["closed_loop"]
    parts = []
    if result["canaries"]:
        lines = "".join(f"<p>{escape(text)}</p>" for text in result["canaries"])
        parts.append(f'<div class="alert mild" id="canaries">{lines}</div>')
    else:
        parts.append('<p class="note">No metric is suspiciously exact, constant, or equal to a baseline.</p>')
    if loop is not None and loop["impossible"][MODEL]["any"] is not None:
        shares = loop["impossible"][MODEL]
        kinds = ", ".join(
            f"{kind.replace('_', ' ')} {number(share, 'share')}" for kind, share in shares.items() if kind != "any"
        )
        parts.append(
            f'<p class="note">Rollouts with an impossible state: '
            f'<b data-impossible="{shares["any"]!r}">{number(shares["any"], "share")}</b> ({kinds}).</p>'
        )
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
            "windows",
            f"{settings['length']} tokens, {settings['burn_in']} not scored; seed {settings['seed']}; "
            f"{result['teacher_forced']['num_frames']:,} of "
            f"{result['teacher_forced']['num_possible_frames']:,} frames scored",
        ),
        ("made", f"{escape(result['created_at'])}, in {result['seconds']:,} s"),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f"<section><h2>Provenance</h2><dl>{items}</dl></section>"
