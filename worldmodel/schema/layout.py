"""What follows from the table: columns at rest, groups for the codec, lookup by role, and the two hashes.

Owns: orders and positions. Nobody else numbers a column. Must not: import numpy or torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from functools import cached_property
from typing import Any

from worldmodel.schema.field import Buttons, Category, Field, Flags, Number, Scope
from worldmodel.schema.fields import FIELDS
from worldmodel.schema.sparse import SPARSE_TABLES

PLAYERS = ("p0", "p1")
"""The two players in port order: p0 has the lower port."""

SCHEMA_VERSION = 1
"""Raised whenever datasets of the version before can no longer be read.

1 (2026-11): first.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A frame column: a field, and whose it is. `name` is what people write: "p0.percent", "p1.pad.stick_x"."""

    name: str
    field: Field
    player: str | None


@dataclass(frozen=True, slots=True)
class FlagBit:
    """One yes/no value that a model sees: bit `bit` of `field`."""

    field: Field
    bit: int
    name: str


def column_name(field: Field, player: str | None) -> str:
    """Name of a field's column for a player (None for fields of the frame)."""
    return field.scope.value.format(name=field.name, player=player).strip()


class Layout:
    """Orders and positions computed from rows.

    Groups (each a tuple in table order) are what tensors are made of, per player:
    `numbers`, `categories`, `flag_bits` of the state; `pad_numbers`, `pad_masks` of the controller.
    """

    def __init__(self, rows: Iterable[Field]) -> None:
        self.rows = tuple(rows)
        self.by_name = {row.name: row for row in self.rows}
        if len(self.by_name) != len(self.rows):
            raise ValueError("two schema rows have one name")
        state = [row for row in self.rows if row.scope is Scope.PLAYER]
        pad = [row for row in self.rows if row.scope is Scope.PAD]
        self.numbers = tuple(row for row in state if isinstance(row.codec, Number))
        self.categories = tuple(row for row in state if isinstance(row.codec, Category))
        self.flag_bits = tuple(
            FlagBit(
                row,
                bit,
                (row.codec.names[bit] if row.codec.names else "") or f"{row.name}{bit}"
                if row.codec.bits > 1
                else row.name,
            )
            for row in state
            if isinstance(row.codec, Flags)
            for bit in range(row.codec.bits)
        )
        self.pad_numbers = tuple(row for row in pad if isinstance(row.codec, Number))
        self.pad_buttons = next(row for row in pad if isinstance(row.codec, Buttons))

    # ---- columns at rest -------------------------------------------------------------------------------------

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Every frame column, stored or derived, in order: p0's, p1's, the frame's."""
        out = [
            Column(column_name(row, player), row, player)
            for player in PLAYERS
            for row in self.rows
            if row.scope in (Scope.PLAYER, Scope.PAD)
        ]
        out += [Column(column_name(row, None), row, None) for row in self.rows if row.scope is Scope.FRAME]
        return tuple(out)

    @cached_property
    def column(self) -> dict[str, Column]:
        """Column by its name."""
        return {column.name: column for column in self.columns}

    # ---- by role ---------------------------------------------------------------------------------------------

    def with_role(self, role: str) -> tuple[Field, ...]:
        """All rows that have a role, in order. Raises KeyError if there is none."""
        found = tuple(row for row in self.rows if role in row.roles)
        if not found:
            raise KeyError(f"no schema row has the role {role!r}")
        return found

    def the(self, role: str) -> Field:
        """The one row that has a role."""
        found = self.with_role(role)
        if len(found) != 1:
            raise KeyError(f"{len(found)} schema rows have the role {role!r}, expected one")
        return found[0]

    def number(self, role: str) -> int:
        """Position of a role's row among `numbers`."""
        return self.numbers.index(self.the(role))

    def category(self, role: str) -> int:
        """Position of a role's row among `categories`."""
        return self.categories.index(self.the(role))

    def flag(self, name_or_role: str) -> int:
        """Position among `flag_bits` of a named bit, or of the one-bit row with that role."""
        for index, flag in enumerate(self.flag_bits):
            if flag.name == name_or_role or (name_or_role in flag.field.roles and self._num_bits(flag.field) == 1):
                return index
        raise KeyError(f"no flag is named {name_or_role!r}")

    @staticmethod
    def _num_bits(row: Field) -> int:
        return row.codec.bits if isinstance(row.codec, Flags) else 0

    @cached_property
    def loss_groups(self) -> tuple[str, ...]:
        """Names of loss groups in order of first appearance."""
        return tuple(dict.fromkeys(row.loss for row in self.rows if row.loss))

    # ---- identity --------------------------------------------------------------------------------------------

    @cached_property
    def store_hash(self) -> str:
        """Changes when what is stored changes: names, sources, types, meaning of missing, sparse tables."""
        stored = [
            [row.name, row.scope.name, row.dtype, row.narrow, [asdict_plain(w) for w in row.wire]]
            for row in self.rows
            if row.stored
        ]
        return _digest([stored, [asdict_plain(table) for table in SPARSE_TABLES]])

    @cached_property
    def codec_hash(self) -> str:
        """Changes when what a model sees or predicts changes: codecs, priors, loss groups, derived fields."""
        return _digest([[row.name, asdict_plain(row.codec), row.loss, row.derive] for row in self.rows if row.codec])


def asdict_plain(value: Any) -> Any:
    """A dataclass as plain JSON values, enums by name, tuples as lists."""
    if hasattr(value, "__dataclass_fields__"):
        pairs = {f.name: asdict_plain(getattr(value, f.name)) for f in dataclass_fields(value)}
        return {"kind": type(value).__name__, **pairs}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple | list):
        return [asdict_plain(v) for v in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


LAYOUT = Layout(FIELDS)
"""The layout of the table. There is one."""

NUMBERS: tuple[Number, ...] = tuple(row.codec for row in LAYOUT.numbers if isinstance(row.codec, Number))
"""What a model sees of each of `LAYOUT.numbers`."""
CATEGORIES: tuple[Category, ...] = tuple(row.codec for row in LAYOUT.categories if isinstance(row.codec, Category))
"""The same of each of `LAYOUT.categories`."""
STAGE: Category = next(row.codec for row in LAYOUT.with_role("stage") if isinstance(row.codec, Category))
