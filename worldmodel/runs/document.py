"""Markdown that people and programs write together: YAML front matter, prose, and blocks that a program fills.

Owns: where front matter and blocks begin and end, and changing one of them without touching another byte.
Must not: know what a key or a block means.

    ---
    run: name                        front matter: YAML between two lines "---", the first one at the top
    ---
    Prose, any Markdown.

    <!-- worldmodel:data -->
    | what | value |                 a block: everything between its two marker lines is the program's
    <!-- /worldmodel:data -->

A marker stands alone on its line. In fenced code it is prose.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from ruamel.yaml import YAML

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic, strict

_FENCE = "---"
_BOM = "\ufeff"
_MARKER = re.compile(r"\s{0,3}<!--\s*(/?)worldmodel:([a-z][a-z0-9_-]*)\s*-->\s*")
_CODE = re.compile(r"\s{0,3}(`{3,}|~{3,})(.*)")

Model = TypeVar("Model", bound=BaseModel)


class BadDocument(WrongUse):
    """A document whose front matter or markers do not pair up."""


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block. `first`, `last`: its lines (index from 0) without the markers, last exclusive."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Document:
    """The text of one document, and where its parts are. Frozen: changes give a new one."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Document:
        """Raises WrongUse if there is no such file or it is not text, BadDocument if its marks do not pair up."""
        try:
            text = path.read_bytes().decode("utf-8")  # not read_text: it would change the ends of lines
        except FileNotFoundError:
            raise WrongUse(f"no file {path}", "a Markdown document", "check the path") from None
        except IsADirectoryError:
            raise WrongUse(f"{path} is a folder", "a Markdown document", "name the file in it") from None
        except UnicodeDecodeError as error:
            raise WrongUse(f"{path}: byte {error.start} is not UTF-8", "Markdown in UTF-8", "check the file") from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Document:
        """Of a text at hand; `path` is what errors call it. Raises BadDocument."""
        document = cls(path, text)
        _ = document._front_end, document.blocks
        return document

    def write(self) -> None:
        """Replace the file, durably."""
        atomic.write_text(self.path, self.text)

    # ---- front matter ----------------------------------------------------------------------------------------

    @cached_property
    def _lines(self) -> list[str]:
        return re.findall(r"[^\n]*\n|[^\n]+", self.text)  # splitlines would also cut at form feeds

    @property
    def _newline(self) -> str:
        return "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"

    @cached_property
    def _front_end(self) -> int:
        """Line of the closing fence."""
        if not self._lines or self._lines[0].removeprefix(_BOM).rstrip() != _FENCE:
            raise BadDocument(f"{self.path}:1:1: no front matter", "a first line '---'", "begin the file with '---'")
        for number, line in enumerate(self._lines[1:], start=1):
            if line.rstrip() == _FENCE:
                return number
        raise BadDocument(f"{self.path}:1:1: front matter without an end", "a second line '---'", "add the line")

    @property
    def front(self) -> str:
        """The front matter with its first fence, so that line numbers in it are those of the file."""
        return "".join(self._lines[: self._front_end]).removeprefix(_BOM)

    @property
    def body(self) -> str:
        """All after the front matter."""
        return "".join(self._lines[self._front_end + 1 :])

    def load(self, model: type[Model]) -> Model:
        """The front matter as `model`. Raises ConfigError, with file, line and column."""
        return strict.loads(self.front, self.path, model)

    def position(self, *keys: str | int) -> str:
        """ "file:line:col" of a key of the front matter, for an error about its value."""
        return strict.position(self.front, self.path, keys)

    def with_key(self, key: str, value: Any) -> Document:
        """The same with one top-level key of the front matter written anew (added at the end if it is not there).

        Every other byte stays; comments inside the key's own lines go.
        """
        out = io.StringIO()
        yaml = YAML(pure=True)
        yaml.default_flow_style = False
        yaml.width = 4096
        yaml.dump({key: value}, out)
        new = [line + self._newline for line in out.getvalue().splitlines()]
        first, last = self._lines_of_key(key)
        changed = replace(self, text="".join([*self._lines[:first], *new, *self._lines[last:]]))
        before, after = self._values(), changed._values()
        if {k: v for k, v in before.items() if k != key} != {k: v for k, v in after.items() if k != key}:
            raise BadDocument(
                f"{self.path}: {key} cannot be written without changing another key",
                "one key per line at the top of the front matter",
                f"write {key} as a block of its own",
            )
        return changed

    def _values(self) -> dict[str, Any]:
        return dict(YAML(typ="safe", pure=True).load(self.front) or {})

    def _lines_of_key(self, key: str) -> tuple[int, int]:
        """First and last+1 line of a key and its value; both the closing fence if it is not there."""
        root = YAML(typ="rt", pure=True).load(self.front)
        starts = {name: root.lc.key(name)[0] for name in root} if root else {}
        if key not in starts:
            return self._front_end, self._front_end
        first = starts[key]
        last = min([line for line in starts.values() if line > first], default=self._front_end)
        # Comments and empty lines before the next key are the next key's.
        while last > first + 1 and (not self._lines[last - 1].strip() or self._lines[last - 1].startswith("#")):
            last -= 1
        return first, last

    # ---- blocks ----------------------------------------------------------------------------------------------

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """Marked blocks by name, in order. Raises BadDocument where markers do not pair up."""
        found: dict[str, Block] = {}
        opened: tuple[str, int] | None = None
        code = ""
        for number, line in enumerate(self._lines):
            if number <= self._front_end:
                continue
            if opened is None and (fence := _CODE.fullmatch(line.rstrip("\r\n"))):
                if not code:
                    code = fence[1]
                elif fence[1][0] == code[0] and len(fence[1]) >= len(code) and not fence[2].strip():
                    code = ""
                continue
            marker = None if code else _MARKER.fullmatch(line.rstrip("\r\n"))
            if marker is None:
                continue
            where, is_end, name = f"{self.path}:{number + 1}:1", bool(marker[1]), marker[2]
            if is_end and (opened is None or opened[0] != name):
                wanted = "no end here" if opened is None else f"the end of {opened[0]}"
                raise BadDocument(f"{where}: the end of block {name}", wanted, "pair the markers")
            if is_end and opened is not None:
                found[name], opened = Block(name, opened[1], number), None
            elif opened is not None:
                raise BadDocument(
                    f"{where}: block {name} inside {opened[0]}", f"<!-- /worldmodel:{opened[0]} -->", "end it"
                )
            elif name in found:
                raise BadDocument(f"{where}: block {name} a second time", "every block once", "remove one of the two")
            else:
                opened = (name, number + 1)
        if opened is not None:
            raise BadDocument(
                f"{self.path}:{opened[1]}:1: block {opened[0]} without an end",
                f"<!-- /worldmodel:{opened[0]} -->",
                "add the line",
            )
        return found

    def block(self, name: str) -> str:
        """Content of a block, with plain ends of lines. Raises KeyError."""
        block = self.blocks[name]
        return "".join(self._lines[block.first : block.last]).replace("\r\n", "\n")

    def with_blocks(self, contents: Mapping[str, str]) -> Document:
        """The same with the contents of some blocks written anew. Raises KeyError for a block that is not there."""
        lines = list(self._lines)
        for block in sorted((self.blocks[name] for name in contents), key=lambda block: -block.first):
            new = contents[block.name].splitlines()
            lines[block.first : block.last] = [line + self._newline for line in new]
        return replace(self, text="".join(lines))

    def with_appended(self, text: str) -> Document:
        """The same with lines added at the end."""
        end = "" if self.text.endswith("\n") else self._newline
        added = "".join(line + self._newline for line in text.splitlines())
        return replace(self, text=self.text + end + added)


def marked(name: str, content: str) -> str:
    """A block as it stands in a document."""
    return f"<!-- worldmodel:{name} -->\n{content.rstrip()}\n<!-- /worldmodel:{name} -->\n"


WIDEST = 44
"""Columns of the Markdown source that a cell is padded to, so that plain text is readable as well."""


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, padded. Bars and ends of lines in cells are escaped."""
    lines = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in (header, *rows)]
    widths = [min(WIDEST, max(3, *(len(line[column]) for line in lines))) for column in range(len(header))]
    out = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return [out[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *out[1:]]
