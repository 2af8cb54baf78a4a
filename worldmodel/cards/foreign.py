"""Cards that people wrote by hand, in the form of the mission's: free Markdown with tables.

Owns: sections, tables and numbers of such a text. Must not: know what a quantity should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

from worldmodel.errors import WrongUse

_HEADING = re.compile(r"##\s+(.*?)\s*")
_NUMBER = re.compile(r"(~?)\s*(\$?)\s*(\d[\d,]*(?:\.\d+)?(?:[eE]-?\d+)?)(?:([KM])\b)?")


@dataclass(frozen=True, slots=True)
class Said:
    """A number as somebody wrote it. is_about: with "~". resolution: half a unit of its last digit, 0 for
    whole numbers, which are counts."""

    text: str
    value: float
    is_about: bool
    resolution: float

    def times(self, factor: float) -> Said:
        """In another unit."""
        return Said(self.text, self.value * factor, self.is_about, self.resolution * factor)


def number(text: str, *, nth: int = 0) -> Said | None:
    """The first number of a text (or the one after `nth` others); None if there is none. Knows "~", "$", "," and K."""
    found = list(_NUMBER.finditer(text))
    if len(found) <= nth:
        return None
    match = found[nth]
    digits = match[3].replace(",", "")
    factor = {"K": 1e3, "M": 1e6, None: 1.0}[match[4]]
    mantissa, _, exponent = digits.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    is_exact = not decimals and match[4] is None and not match[1]
    resolution = 0.0 if is_exact else 0.5 * 10.0**-decimals * factor
    return Said(text, float(digits) * factor, bool(match[1]), resolution)


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a section that belong together: a table, or anything else."""

    is_table: bool
    lines: tuple[str, ...]

    @property
    def rows(self) -> list[list[str]]:
        """Cells of a table: its header, then its rows, without the rule between."""
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in self.lines]
        return [row for number, row in enumerate(rows) if number != 1]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the second level and what follows it. The first section of a text has no title."""

    title: str
    lines: tuple[str, ...]

    @property
    def parts(self) -> list[Part]:
        """Tables and what is between them, in order."""
        out: list[Part] = []
        for line in self.lines:
            is_table = line.lstrip().startswith("|")
            if out and out[-1].is_table == is_table:
                out[-1] = Part(is_table, (*out[-1].lines, line))
            else:
                out.append(Part(is_table, (line,)))
        return out

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Foreign:
    """A card of that form."""

    path: Path
    sections: tuple[Section, ...]

    @classmethod
    def read(cls, path: Path) -> Foreign:
        """Raises WrongUse if there is no such file, or it is no card of that form."""
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
            raise WrongUse(f"{path}: {error}", "a Markdown file", "check the path") from None
        if text.startswith("---\n"):
            raise WrongUse(f"{path} has front matter", "a card that was written by hand", "worldmodel card check it")
        sections: list[Section] = []
        title, lines, in_code = "", list[str](), False
        for line in text.splitlines():
            in_code ^= line.lstrip().startswith("```")
            if not in_code and (match := _HEADING.fullmatch(line)):
                sections.append(Section(title, tuple(lines)))
                title, lines = match[1], []
            else:
                lines.append(line)
        sections.append(Section(title, tuple(lines)))
        card = cls(path, tuple(sections))
        if not card.name:
            raise WrongUse(f"{path} has no line '# Run Card: NAME'", "a run card", "add the line")
        return card

    @cached_property
    def name(self) -> str:
        """Of the run; empty if the text has none."""
        match = re.search(r"^# Run Card:\s*(\S+)", self.sections[0].text, flags=re.MULTILINE | re.IGNORECASE)
        return match[1] if match else ""

    @cached_property
    def created(self) -> date | None:
        """The day that the card gives."""
        match = re.search(r"\*\*Created\*\*:\s*(.+)", self.sections[0].text)
        for form in ("%b %d, %Y", "%B %d, %Y", "%Y-%m-%d"):
            try:
                return datetime.strptime(match[1].strip(), form).date() if match else None
            except ValueError:
                continue
        return None

    @property
    def config(self) -> str | None:
        """The experiment file that the card names."""
        match = re.search(r"\*\*Config\*\*:\s*`?([^`\s]+)`?", self.sections[0].text)
        return match[1] if match else None

    def section(self, *words: str) -> Section:
        """The first section whose title has all the words; an empty one if there is none."""
        for section in self.sections:
            if all(word.lower() in section.title.lower() for word in words):
                return section
        return Section("", ())

    def table(self, *words: str) -> list[dict[str, str]]:
        """Rows of the first table of a section, by the names of its columns."""
        for part in self.section(*words).parts:
            if part.is_table and len(part.rows) > 1:
                header, *rows = part.rows
                return [dict(zip(header, row, strict=False)) for row in rows]
        return []

    def fields(self, *words: str) -> dict[str, str]:
        """A table of two columns, as a mapping; bold and code marks go."""
        return {plain(key): plain(value) for key, value in _pairs(self.table(*words))}


def _pairs(rows: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        key, *rest = row.values()
        if rest:
            yield key, rest[0]


def plain(text: str) -> str:
    """Without marks of bold and code."""
    return re.sub(r"\*\*|`", "", text).strip()
