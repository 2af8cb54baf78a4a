"""What happens in dreams, what contradicts itself there, and what other pads change: sections of the report's page.

Owns: their words and tables. Must not: compute a number; each one shown carries the result's own in `data-value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from worldmodel.evaluation.dreams import WINDOW_FRAMES
from worldmodel.evaluation.page import (
    TRUTH,
    baselines,
    card,
    cell,
    interval,
    legend,
    name_of,
    number,
    pair,
    raw,
    section,
    table,
    words,
)
from worldmodel.evaluation.starts import LEAD_FRAMES
from worldmodel.evaluation.sums import MODEL

Json = Mapping[str, Any]


def events(result: Json) -> str:
    """What happens in dreams, beside what happens in truth."""
    loop = result["closed_loop"]
    if loop is None:
        return ""
    columns = [
        ("true / min", "per_minute", TRUTH, ""),
        ("dreamed / min", "per_minute", MODEL, ""),
        ("found", "recall", MODEL, "main"),
        ("right", "precision", MODEL, "main"),
        ("false / min", "false_per_minute", MODEL, ""),
    ]
    if loop["events"][0]["start_recall"] is not None:
        columns.append((f"found from {LEAD_FRAMES} before", "start_recall", MODEL, "main"))
        columns += [(name_of(name), "start_recall", name, "") for name in baselines(loop["models"])]
    rows = []
    for event in loop["events"]:
        name = event["name"]

        def one(title: str, what: str, model: str, classes: str = "", event: Json = event, name: str = name) -> str:
            estimate, unit = event[what]["models"][model], "per minute" if "minute" in what else "share"
            keys = {"event": name, "what": what, "model": model, "label": title}
            found = cell(estimate["value"], unit, keys=keys, classes=classes)
            reach = interval(estimate, unit)
            return found.replace("</td>", f'<span class="of">{reach}</span></td>') if reach and classes else found

        cells = "".join(one(title, what, model, classes) for title, what, model, classes in columns)
        rows.append(
            f'<tr><th scope="row">{escape(words(name))}<span class="of">{escape(event["doc"])}</span></th>{cells}</tr>'
        )
    note = (
        f"Found: of the true events, those that the dream has within {WINDOW_FRAMES} frames, for the same player. "
        f"Right: of the dreamed ones, those that are true. The last columns start {LEAD_FRAMES} frames before an event "
        "and ask for that one."
    )
    return section("What happens in a dream", note, table(["", *(column[0] for column in columns)], rows, "events"))


def contradictions(result: Json) -> str:
    """What fields must not say together."""
    loop = result["closed_loop"]
    if loop is None:
        return ""
    names = [TRUTH, *baselines(loop["models"])]
    rows = []
    for row in loop["contradictions"]:
        keys = {"contradiction": row["name"]}
        own = row["models"][MODEL]
        cells = cell(own["value"], "share", keys=keys | {"model": MODEL}, classes="main")
        cells += f'<td class="range">{interval(own, "share")}</td>'
        for name in names:
            cells += cell(row["models"][name]["value"], "share", keys=keys | {"model": name})
        rows.append(
            f'<tr><th scope="row">{escape(words(row["name"]))}<span class="of">{escape(row["doc"])}</span></th>'
            f"{cells}</tr>"
        )
    level = f"{100 * result['settings']['level']:g} %"
    note = "Share of player-frames of rollouts. What true replays do themselves is a rule's own false alarm."
    shares = loop["impossible"][MODEL]
    kinds = ", ".join(f"{words(kind)} {number(share, 'share')}" for kind, share in shares.items() if kind != "any")
    impossible = (
        f'<p class="note after">Rollouts with an impossible state: '
        f'<b data-impossible="{raw(shares["any"])}">{number(shares["any"], "share")}</b> ({kinds}).</p>'
    )
    return section("Contradictions", note, table(["", "model", level, *map(name_of, names)], rows), impossible)


# ---- counterfactuals -------------------------------------------------------------------------------------------------


def counterfactuals(result: Json) -> str:
    """Forked futures of the simulator."""
    found = result["counterfactuals"]
    if found is None:
        return ""
    units = {measure["name"]: measure["unit"] for measure in found["measures"]}
    models, own = found["models"], found["models"][MODEL]
    both = {"as played": own["played"], "other pads": own["changed"]}
    cards = [
        f"{card('Error, as played and with other pads', units['played'], both)}",
        card(
            "Error of the difference",
            units["difference"],
            {name: values["difference"] for name, values in models.items()},
        ),
    ]
    at = [frames for frames in (10, 30, found["horizon_frames"]) if frames <= found["horizon_frames"]]
    rows = []
    for measure in found["measures"]:
        if measure["name"] not in ("direction", "size", "state"):
            continue
        cells = ""
        for frames in at:
            value = own[measure["name"]]["value"][frames - 1]
            cells += cell(value, measure["unit"], keys={"fork": f"{measure['name']}@{frames}"}, classes="main")
        rows.append(
            f'<tr><th scope="row">{escape(measure["name"])}<span class="of">{escape(measure["definition"])}</span></th>'
            f"{cells}</tr>"
        )
    note = (
        f"{found['num_forks']:,} moments of the simulator, two true futures each: as played, and with one player's "
        "pads replaced. Whoever ignores pads predicts no difference, which is what both baselines do."
    )
    return section(
        "What if the pads had been different",
        note,
        '<div class="pair"><div>' + legend(list(both)) + "</div><div>" + legend(list(models)) + "</div></div>",
        pair(cards),
        table(["", *(f"after {frames}" for frames in at)], rows, "forks"),
    )
