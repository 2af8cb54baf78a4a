"""Tiny `.slp` files for the parser's tests, byte by byte, and a slow second parser to compare with.

Independent of the package's own writer on purpose: what one of them gets wrong the other does not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from worldmodel.schema import LAYOUT, Event
from worldmodel.schema.sparse import SPARSE_TABLES

PRE, POST, START, ITEM, END = 0x37, 0x38, 0x3A, 0x3B, 0x3C
NEW = {0x36: 760, PRE: 66, POST: 84, 0x39: 6, START: 12, ITEM: 44, END: 8, 0x3F: 9, 0x40: 5, 0x41: 8, 0x10: 516}
"""Payload sizes of 3.18."""
V3_6 = {0x36: 418, PRE: 63, POST: 72, 0x39: 2, START: 8, ITEM: 42, END: 4}
V2_0 = {0x36: 418, PRE: 63, POST: 51, 0x39: 2}
V0_1 = {0x36: 320, PRE: 58, POST: 33, 0x39: 1}


def event(sizes: dict[int, int], code: int, fill: bytes | None = None, /, **at: tuple[int, str, Any]) -> bytes:
    """One event: `fill` repeated, then values put at offsets counted from the command byte."""
    out = bytearray([code]) + bytearray((fill or b"\0") * sizes[code])[: sizes[code]]
    for offset, kind, value in at.values():
        if offset + struct.calcsize(kind) <= len(out):
            struct.pack_into(">" + kind, out, offset, value)
    return bytes(out)


def game_start(sizes: dict[int, int], ports: Iterable[int] = (0, 1), **more: tuple[int, str, Any]) -> bytes:
    """Game Start: humans with four stocks, Fox, on Battlefield, items off."""
    values: dict[str, tuple[int, str, Any]] = {
        "version": (0x1, "4s", bytes([3, 18, 0, 0])), "mode": (0x5, "B", 0x32), "items": (0x10, "b", -1),
        "stage": (0x13, "H", 31), "timer": (0x15, "I", 480), "seed": (0x13D, "I", 0xC0FFEE),
        "scene": (0x1A3, "BB"[:1], 2), "major": (0x1A4, "B", 8),
    }  # fmt: skip
    for port in range(4):
        block = 0x24 * port
        used = port in tuple(ports)
        values |= {
            f"c{port}": (0x65 + block, "B", 2),
            f"k{port}": (0x66 + block, "B", 0 if used else 3),
            f"s{port}": (0x67 + block, "B", 4),
        }
    return event(sizes, 0x36, **(values | more))


def player_event(
    sizes: dict[int, int], code: int, frame: int, port: int, rng: np.random.Generator, follower: int = 0
) -> bytes:
    """Pre or post event with random bytes in its fields."""
    return event(
        sizes, code, rng.bytes(sizes[code]), f=(1, "i", frame), p=(5, "B", port), n=(6, "B", follower)
    )  # fmt: skip


def frame(
    sizes: dict[int, int],
    number: int,
    rng: np.random.Generator,
    *,
    ports: Iterable[int] = (0, 1),
    nana: int | None = None,
    items: int = 0,
    stage_event: int | None = None,
) -> bytes:
    """All events of one frame, in Slippi's order."""
    bodies = [(port, follower) for port in ports for follower in ((0, 1) if port == nana else (0,))]
    out = event(sizes, START, rng.bytes(sizes[START]), f=(1, "i", number)) if START in sizes else b""
    out += b"".join(player_event(sizes, PRE, number, port, rng, follower) for port, follower in bodies)
    if ITEM in sizes:
        out += b"".join(event(sizes, ITEM, rng.bytes(sizes[ITEM]), f=(1, "i", number)) for _ in range(items))
    if stage_event in sizes:
        out += event(sizes, stage_event, rng.bytes(sizes[stage_event]), f=(1, "i", number))
    out += b"".join(player_event(sizes, POST, number, port, rng, follower) for port, follower in bodies)
    if END in sizes:
        out += event(sizes, END, f=(1, "i", number), l=(5, "i", number))
    return out


def game_end(sizes: dict[int, int], method: int = 2, quitter: int = -1) -> bytes:
    """Game End."""
    return event(sizes, 0x39, m=(1, "B", method), q=(2, "b", quitter), p=(3, "4s", b"\0\1\xff\xff"))


def table(sizes: dict[int, int]) -> bytes:
    """The payload sizes event."""
    rows = b"".join(struct.pack(">BH", code, size) for code, size in sizes.items())
    return bytes([0x35, len(rows) + 1]) + rows


def envelope(raw: bytes, metadata: bytes = b"", *, length: int | None = None) -> bytes:
    """The whole file around an event stream; `length` overrides what its header says."""
    head = b"{U\x03raw[$U#l" + struct.pack(">i", len(raw) if length is None else length)
    return head + raw + (b"U\x08metadata" + metadata if metadata else b"") + b"}"


def slp(
    sizes: dict[int, int] = NEW,
    frames: bytes = b"",
    *,
    start: bytes | None = None,
    end: bytes | None = None,
    **more: Any,
) -> bytes:
    """A file."""
    start = game_start(sizes) if start is None else start
    return envelope(table(sizes) + start + frames + (game_end(sizes) if end is None else end), **more)


def plain(num_frames: int, sizes: dict[int, int] = NEW, *, seed: int = 0, first: int = -123) -> bytes:
    """An ordinary game of two."""
    rng = np.random.default_rng(seed)
    return slp(sizes, b"".join(frame(sizes, first + t, rng) for t in range(num_frames)))


# ---- the slow parser -----------------------------------------------------------------------------------------------

_KIND = {"f4": "I", "u1": "B", "i1": "b", "u2": "H", "i4": "i", "u4": "I"}  # floats as their bits


def walk(raw: bytes) -> list[tuple[int, bytes]]:
    """(code, event) of everything in a stream, one by one, up to what is cut off."""
    sizes = {raw[at]: (raw[at + 1] << 8 | raw[at + 2]) + 1 for at in range(2, 1 + raw[1], 3)}
    at, out = 1 + raw[1], []
    while at < len(raw) and at + sizes[raw[at]] <= len(raw):
        out.append((raw[at], raw[at : at + sizes[raw[at]]]))
        at += sizes[raw[at]]
    return out


def _value(data: bytes, offset: int, kind: str) -> int | None:
    if kind == "u1x5":
        return int.from_bytes(data[offset : offset + 5], "little") if offset + 5 <= len(data) else None
    if offset + struct.calcsize(_KIND[kind]) > len(data):
        return None
    return int(struct.unpack_from(">" + _KIND[kind], data, offset)[0])


def slow_columns(raw: bytes, ports: tuple[int, int]) -> tuple[dict[str, list[int]], dict[str, list[list[int]]]]:
    """(columns, rows of sparse tables), floats as bits: what `parse_replay` must find."""
    rows: list[list[tuple[int, bytes]]] = []
    events = [(code, data) for code, data in walk(raw) if code not in (0x36, 0x39, 0x10)]
    head, last = (START if any(code == START for code, _ in events) else PRE), -1
    for code, data in events:
        if code == head and (head == START or last != PRE):
            rows.append([])
        rows[-1].append((code, data))
        last = code
    kept: dict[int, list[tuple[int, bytes]]] = {}
    for row in rows:
        kept[struct.unpack_from(">i", row[0][1], 1)[0]] = row
    columns: dict[str, list[int]] = {}
    sparse: dict[str, list[list[int]]] = {}
    for t, number in enumerate(sorted(kept)):
        row = kept[number]
        mine = {(code, data[5]): data for code, data in row if code in (PRE, POST) and data[6] == 0}
        single = dict(row)
        for column in LAYOUT.columns:
            for wire in column.field.wire:
                port = ports[0] if column.player in (None, "p0") else ports[1]
                per_player = wire.event in (Event.PRE, Event.POST)
                data = mine[wire.event.value, port] if per_player else single.get(wire.event.value, b"")
                if (value := _value(data, wire.offset, wire.type)) is not None:
                    columns.setdefault(column.name, []).append(value)
                    break
        for table_ in SPARSE_TABLES:
            for code, data in row:
                if code == table_.event.value:
                    values = [_value(data, c.wire.offset, c.wire.type) for c in table_.columns]
                    sparse.setdefault(table_.name, []).append([t, *(v for v in values if v is not None)])
    return columns, sparse
