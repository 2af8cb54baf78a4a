"""A card on a terminal.

Owns: how it looks there. Must not: compute, or word a fact (the tables do).
"""

from __future__ import annotations

import re

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worldmodel.cards.questions import Finding, Severity
from worldmodel.cards.sheet import Sheet
from worldmodel.cards.tables import TABLES
from worldmodel.cards.view import View
from worldmodel.launch.closeout import read_closed
from worldmodel.launch.results import end_words
from worldmodel.runs.folder import RunFolder

STACKS = (("data", "model", "timing"), ("training", "infrastructure", "logging"))
"""Tables that stand in two columns where there is room."""

WIDE = 150
"""Columns of a terminal from which on there is."""

GAP = 3
"""Columns between two stacks."""

TITLE = "bold cyan"
STATES = {"approved": "bold green", "not needed": "green", "missing": "bold yellow", "blocked": "bold red"}
SEVERITIES: dict[Severity, str] = {
    "blocker": "bold red",
    "warning": "yellow",
    "not measured": "cyan",
    "note": "dim",
    "ok": "green",
}


def show(view: View, findings: list[Finding], console: Console) -> None:
    """The card, its reviews, and what a reviewer would ask."""
    card, signed = view.file.card, view.sign_off
    head = Text.assemble((card.run, "bold"), "  ", (card.goal, "italic"))
    state = Text.assemble(("review  ", "dim"), (signed.state, STATES[signed.state]), ("  " + signed.in_words(), ""))
    ident = Text(f"{view.file.path}  hash {view.hash}", style="dim")
    parts = (head, state, _counts(findings), *_ended(view), ident)
    console.print(Panel(Group(*parts), border_style=STATES[signed.state].split()[-1], padding=(0, 1)))
    for row in _rows(console.width):
        width = console.width // len(row) - GAP
        grid = Table.grid(padding=(0, GAP))
        for _ in row:
            grid.add_column(width=width)
        grid.add_row(*(Group(*(shown(TABLES[name](view), width) for name in stack)) for stack in row))
        console.print(grid)
    console.print(findings_table(findings, console.width))


def _ended(view: View) -> list[Text]:
    """How the card's run ended, if it did."""
    closed = read_closed(RunFolder(view.places.runs / view.file.card.run))
    if closed is None:
        return []
    words = {True: ("met", "green"), False: ("missed", "red"), None: ("not measured", "yellow")}
    text = Text.assemble(("run     ", "dim"), _inline(end_words(closed)))
    for target in closed.targets:
        word, style = words[target.is_met]
        text.append_text(Text.assemble(f"; {target.metric} ", (word, style)))
    return [text]


def _rows(width: int) -> list[tuple[tuple[str, ...], ...]]:
    """Stacks of tables, those of a row beside each other."""
    names = list(TABLES)
    if width < WIDE:
        return [(tuple(names),)]
    stacked = {name for stack in STACKS for name in stack}
    first = min(names.index(name) for name in stacked)
    before = tuple(name for name in names[:first] if name not in stacked)
    after = tuple(name for name in names[first:] if name not in stacked)
    return [row for row in ((before,), STACKS, (after,)) if any(row)]


def _counts(findings: list[Finding]) -> Text:
    text = Text.assemble(("lint    ", "dim"))
    for severity, style in SEVERITIES.items():
        num = sum(finding.severity == severity for finding in findings)
        if num and severity != "note":
            text.append(f"{num} {severity}{'s' if num > 1 and severity in ('blocker', 'warning') else ''}  ", style)
    return text


def findings_table(findings: list[Finding], width: int, *, title: str = "What a reviewer would ask") -> RenderableType:
    """What a reviewer would ask, with the answers."""
    table = _table(width)
    for column in ("", "Question", "Answer"):
        table.add_column(column, no_wrap=column != "Answer", overflow="fold", ratio=1 if column == "Answer" else None)
    for finding in findings:
        style = SEVERITIES[finding.severity]
        question = finding.question.replace("_", " ")
        table.add_row(Text(finding.severity, style), Text(question, "dim"), Text(finding.message))
    return Group(Text(title, TITLE), table, Text())


def shown(sheet: Sheet, width: int) -> RenderableType:
    """One table of a card."""
    parts: list[RenderableType] = [Text(sheet.title, TITLE)]
    if sheet.rows:
        table = _table(width)
        is_facts = len(sheet.header) == 2
        for number, name in enumerate(sheet.header):
            last = number == len(sheet.header) - 1
            style = "dim" if is_facts and not number else None
            table.add_column("" if is_facts else name, style=style, overflow="fold", ratio=1 if last else None)
        table.show_header = not is_facts
        for row in sheet.rows:
            table.add_row(*map(_inline, row))
        parts.append(table)
    parts += [Padding(_inline(note), (0, 0, 0, 1)) for note in sheet.notes]
    for what, command in sheet.code:
        parts.append(Padding(Text.assemble((f"{what}  ", "dim"), (command, "cyan")), (0, 0, 0, 1)))
    return Group(*parts, Text())


def _table(width: int) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 1), header_style="dim", width=width, expand=True)


def _inline(markdown: str) -> Text:
    """Bold and code of a line of Markdown; nothing else stands in tables."""
    text = Text()
    for part in re.split(r"(\*\*.+?\*\*|`[^`]+`)", markdown):
        if part.startswith("**"):
            text.append(part[2:-2], "bold")
        elif part.startswith("`"):
            text.append(part[1:-1], "cyan")
        else:
            text.append(part)
    return text
