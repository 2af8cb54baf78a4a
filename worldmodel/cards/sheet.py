"""A table of a card, before it is Markdown or lines of a terminal.

Owns: its shape, and writing it as Markdown. Must not: know what stands in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worldmodel.runs.document import table_lines


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table, or text alone where there is no row. notes: lines below it; code: a command below those."""

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    code: tuple[tuple[str, str], ...] = ()
    """(what it does, the command)."""

    def markdown(self) -> str:
        """Everything but the title, which people may word as they like."""
        parts = []
        if self.rows:
            parts.append("\n".join(table_lines(self.header, self.rows)))
        parts += self.notes
        parts += [f"{what}:\n\n```bash\n{command}\n```" for what, command in self.code]
        return "\n\n".join(parts) + "\n"


def facts(title: str, rows: Sequence[tuple[str, str | None]], notes: Sequence[str] = ()) -> Sheet:
    """A sheet of two columns; rows without a value are left out."""
    kept = tuple((name, value) for name, value in rows if value is not None)
    return Sheet(title, ("Field", "Value"), kept, tuple(notes))
