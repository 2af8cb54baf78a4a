"""`MODEL_CARD.md`: what was exported, in a page, as far as a run's folder knows it.

Owns: its sections. Must not: measure anything (the evaluation is the run's own, by `worldmodel eval`).
"""

from __future__ import annotations

import json
from typing import Any

from worldmodel.evaluation.page import number
from worldmodel.evaluation.result_file import Json
from worldmodel.runs.folder import RunFolder
from worldmodel.schema import LAYOUT

_LIMITS = """\
A dream is not the game: its errors grow with every frame that it makes of its own frames. It knows two players, the six
legal stages, and what its games held; it has no items, no Nana, no teams. Nothing of the game is in these files: they
hold what was learned from replays of it. Made to be played with, searched in and measured; not to judge a match by."""

_AGAIN = "{}: `worldmodel eval`, then export again."


def model_card(
    about: dict[str, Any],
    report: dict[str, Any],
    parity: list[str],
    folder: RunFolder | None = None,
    result: Json | None = None,
) -> str:
    """The page. about: what is known of the weights; report, parity: the parity report, and in words; folder: of the
    run, None for a weights file alone; result: an evaluation, if there is one."""
    origin = "a weights file" if folder is None else f"run `{about['run']}`, step {about['step']:,}"
    files = ", ".join(f"`{told['file']}`" for told in report["files"].values())
    told = [
        "# Model card",
        "",
        "A world model of Super Smash Bros. Melee: state of both players and both controllers in, the next frame out.",
        "",
        _LIMITS,
        "",
        f"- From {origin}{', running mean of the weights' if about['ema'] else ''}; architecture `{about['arch']}`, "
        f"heads `{about['heads']}`, {about['num_parameters']:,} parameters.",
        f"- Weights SHA-256 `{about['weights_sha256']}`, codec `{LAYOUT.codec_hash}`.",
        f"- Files: {files}; how to step them: `codec.json`.",
        "",
        *([] if folder is None else [*_training(folder), *_measured(result, about["weights_sha256"])]),
        "## Compared with the model it was made of",
        "",
        *(f"- {line}" for line in parity),
    ]
    return "\n".join(told) + "\n"


def _training(folder: RunFolder) -> list[str]:
    """Data, code and the whole recipe."""
    known = json.loads(folder.provenance.read_text(encoding="utf-8"))
    data, code = known.get("dataset") or {}, known.get("code") or {}
    size = f"{data['num_games']:,} games, {data['num_frames']:,} frames; " if "num_games" in data else ""
    changed = " with changes" if code.get("dirty") else ""
    return [
        "## Training",
        "",
        f"- Data: {size}content hash `{data.get('content_hash', 'unknown')}`, split by match.",
        f"- Code: {code.get('version', 'unknown')}, commit `{code.get('git_sha') or 'unknown'}`{changed}; "
        f"torch {(known.get('versions') or {}).get('torch', 'unknown')}.",
        "",
        "```yaml",
        folder.config.read_text(encoding="utf-8").strip(),
        "```",
        "",
    ]


def _measured(result: Json | None, sha256: str) -> list[str]:
    """Headlines of the evaluation, if it is of these weights."""
    told = ["## Measured on games it has not seen", ""]
    if result is None:
        return [*told, _AGAIN.format("Not evaluated"), ""]
    data = result["data"]
    if result["weights"]["sha256"] != sha256:
        return [*told, _AGAIN.format("The run's evaluation is of other weights"), ""]
    if not data["held_out"]:
        return [*told, _AGAIN.format(f"The run's evaluation is of {data['split']} games"), ""]
    names = list(result["headlines"][0]["models"])
    rows = [
        f"{data['num_games']} games, {data['num_frames']:,} frames, held out by match; 95 % intervals over games.",
        "",
        f"| | unit | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for row in result["headlines"]:
        values = [_value(row["models"][name], row["unit"]) for name in names]
        rows.append(f"| {row['name']} | {row['unit']} | {' | '.join(values)} |")
    return [*told, *rows, ""]


def _value(told: dict[str, Any], unit: str) -> str:
    if told["value"] is None:
        return str(told["reason"] or "")
    low, high = told["low"], told["high"]
    interval = "" if low is None or low == high else f" ({number(low, unit)} .. {number(high, unit)})"
    return number(told["value"], unit) + interval
