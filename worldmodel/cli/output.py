"""What a verb says: lines and tables for people on standard output, or one JSON object as its last line.

With `--json` the lines for people go to standard error, so that standard output holds nothing but the object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


NO_TERMINAL_WIDTH = 200
"""Columns of a table in a pipe or a file, where nothing is gained by folding it."""


class Output:
    """Speaker of one verb."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = NO_TERMINAL_WIDTH

    def say(self, text: str = "") -> None:
        """One line for people."""
        self.console.print(text, markup=False)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
        """A table for people; cells that are numbers stand right."""
        cells = [[_cell(value) for value in row] for row in rows]
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for index, name in enumerate(header):
            numeric = bool(cells) and all(_is_numeric(row[index]) or not row[index] for row in cells)
            table.add_column(name, justify="right" if numeric else "left", no_wrap=index == 0, overflow="fold")
        for row in cells:
            table.add_row(*row)
        self.console.print(table)

    def result(self, result: dict[str, Any]) -> None:
        """The verb's result for machines; silent without `--json`. Not-a-number is a bug of ours, so it is refused."""
        if self._as_json:
            print(json.dumps(result, allow_nan=False, default=str), flush=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return str(value)


def _is_numeric(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").replace("e", "").replace("+", "").isdigit()
