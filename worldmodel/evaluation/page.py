"""What every page is made of: the frame, tables, cells that carry their number, formats.

Owns: HTML of small parts. Must not: know what a page is about. Style: `report.css`; pictures: `charts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from worldmodel.evaluation import charts
from worldmodel.evaluation.sums import MODEL

Json = Mapping[str, Any]

TRUTH = "truth"
"""In the place of a model: what true replays do by themselves."""


def page(title: str, sections: Sequence[str]) -> str:
    """A whole page, with no other file or host behind it. Empty sections are left out."""
    style = files("worldmodel.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def section(title: str, note: str, *parts: str) -> str:
    """A heading, a line of explanation (plain text), and what follows."""
    return f'<section><h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{"".join(parts)}</section>'


def number(value: float | None, unit: str) -> str:
    """A value as people read it: shares in percent, differences of shares ("points") in percentage points, the rest to
    three significant digits."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{_percent(value)}\N{NO-BREAK SPACE}%"
    if unit == "points":
        return f"{100 * value:.2f}\N{NO-BREAK SPACE}pp"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:#.3g}".removesuffix(".")


def _percent(share: float) -> str:
    """One digit after the point, more where that would say 0 or 100 of what is not quite."""
    if share == 0:
        return "0"
    if abs(share) < 0.0005:
        return f"{100 * share:.1g}" if abs(share) >= 1e-6 else f"{100 * share:.0e}"
    return f"{100 * share:.2f}" if 0.9995 <= share < 1 else f"{100 * share:.1f}"


def interval(estimate: Json, unit: str) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    low, high = number(estimate["low"], unit), number(estimate["high"], unit)
    if unit in ("share", "points"):
        low = low.partition("\N{NO-BREAK SPACE}")[0]
    return f"{low} {'to' if estimate['low'] < 0 else '–'} {high}"


def cell(value: float | None, unit: str, *, keys: Mapping[str, str], classes: str = "") -> str:
    """A table cell that carries the result's own number, and whose it is."""
    told = "".join(f' data-{key}="{escape(text)}"' for key, text in keys.items())
    return f'<td class="{classes}"{told} data-value="{raw(value)}">{number(value, unit)}</td>'


def raw(value: float | None) -> str:
    """A number as it stands in the result."""
    return "null" if value is None else repr(value)


def name_of(model: str) -> str:
    return model.replace("_", "\N{NON-BREAKING HYPHEN}")


def table(header: Sequence[str], rows: Sequence[str], classes: str = "") -> str:
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    return (
        f'<div class="scroll"><table class="{classes}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def legend(names: Sequence[str]) -> str:
    """Lines of a chart and whose they are, in the order of the chart."""
    box = '<svg viewBox="0 0 26 10" aria-hidden="true">'
    items = "".join(
        f'<li>{box}<path class="line {line_class(name, index)}" d="M1 5L25 5"/></svg>{escape(name_of(name))}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def line_class(name: str, index: int) -> str:
    """Style of a line: some have their own, the rest go by their place."""
    return _LINES.get(name, f"m{index}")


_LINES = {TRUTH: "truth", "other pads": "m4"}


def card(
    title: str, unit: str, models: Mapping[str, Json], at: Sequence[int] | None = None, axis: str = "frames dreamed"
) -> str:
    """A chart under its title. at: the horizons (None: 1, 2, ...). Lines are drawn in the order of `models`."""
    share = unit == "share"
    told = "" if share else f' <span class="range">{escape(unit)}</span>'
    styled = {line_class(name, index): curve for index, (name, curve) in enumerate(models.items())}
    picture = charts.curves(styled, share=share, label=title, at=at, axis=axis)
    return f'<figure class="card"><h3>{escape(title)}{told}</h3>{picture}</figure>'


def pair(cards: Sequence[str]) -> str:
    """Cards side by side, or below each other where it is narrow."""
    return f'<div class="pair">{"".join(cards)}</div>'


def words(name: str) -> str:
    """A name of ours as people read it."""
    return name.replace("_", " ")


def baselines(models: Mapping[str, Any]) -> list[str]:
    """Names of the naive models."""
    return [name for name in models if name not in (MODEL, TRUTH)]
