"""Things that are there only on some frames: items and stage events. Stored as rows, with the frame they belong to.

Owns: names, byte offsets and types of their columns. No model reads them yet; they are kept so that no replay has to
be read again on the day one does.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.schema.field import Event, StoreType, Version, Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseColumn:
    """One column of a sparse table. `since`: first version that has it; before, it is null."""

    name: str
    wire: Wire
    dtype: StoreType
    since: Version = (3, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseTable:
    """Rows of one replay event. Every table also has `game` (row of the games table) and `t` (frame index)."""

    name: str
    event: Event
    columns: tuple[SparseColumn, ...]
    since: Version


def _table(
    name: str, event: Event, since: Version, *columns: tuple[str, int, StoreType] | tuple[str, int, StoreType, Version]
) -> SparseTable:
    rows = tuple(
        SparseColumn(name=c[0], wire=Wire(event, c[1], c[2]), dtype=c[2], since=c[3] if len(c) == 4 else since)  # type: ignore[arg-type]
        for c in columns
    )
    return SparseTable(name=name, event=event, columns=rows, since=since)


# fmt: off
SPARSE_TABLES: tuple[SparseTable, ...] = (
    _table(
        "items", Event.ITEM, (3, 0, 0),
        ("type", 0x05, "u2"), ("state", 0x07, "u1"), ("facing", 0x08, "f4"),
        ("velocity_x", 0x0C, "f4"), ("velocity_y", 0x10, "f4"), ("x", 0x14, "f4"), ("y", 0x18, "f4"),
        ("damage", 0x1C, "u2"), ("timer", 0x1E, "f4"), ("spawn_id", 0x22, "u4"),
        ("misc0", 0x26, "u1", (3, 2, 0)), ("misc1", 0x27, "u1", (3, 2, 0)),
        ("misc2", 0x28, "u1", (3, 2, 0)), ("misc3", 0x29, "u1", (3, 2, 0)),
        ("owner", 0x2A, "i1", (3, 6, 0)), ("instance_id", 0x2B, "u2", (3, 16, 0)),
    ),
    _table("fod_platforms", Event.FOD_PLATFORM, (3, 18, 0), ("platform", 0x05, "u1"), ("height", 0x06, "f4")),
    _table("whispy", Event.WHISPY, (3, 18, 0), ("direction", 0x05, "u1")),
    _table("stadium", Event.STADIUM, (3, 18, 0), ("event", 0x05, "u2"), ("type", 0x07, "u2")),
)
# fmt: on
