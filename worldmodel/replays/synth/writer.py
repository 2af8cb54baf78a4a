"""A game's columns to the bytes of a `.slp` file, of any Slippi version. No Python per frame.

Owns: event sizes by version, and the order of events. Must not: simulate.
Offsets of fields come from the schema; sizes of events are the format's (project-slippi/slippi-wiki, SPEC.md), checked
against the payload tables of real replays. An older version is the same file with shorter events: what it does not
have is cut off, as it was when those versions were current.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.replays.synth.game import Game
from worldmodel.replays.synth.state import FIRST_FRAME_ID, Array
from worldmodel.replays.ubjson import dumps
from worldmodel.schema.field import Event, Field, Scope, Version
from worldmodel.schema.layout import LAYOUT, PLAYERS
from worldmodel.schema.sparse import SPARSE_TABLES, SparseTable

LATEST: Version = (3, 17, 0)

_PAYLOADS, _START, _END = 0x35, 0x36, 0x39
_SIZES: dict[int, tuple[tuple[Version, int], ...]] = {
    _START: (
        ((0, 1, 0), 320),
        ((1, 0, 0), 352),
        ((1, 3, 0), 416),
        ((1, 5, 0), 417),
        ((2, 0, 0), 418),
        ((3, 7, 0), 420),
        ((3, 9, 0), 584),
        ((3, 11, 0), 700),
        ((3, 12, 0), 701),
        ((3, 14, 0), 760),
    ),
    Event.PRE.value: (((0, 1, 0), 58), ((1, 2, 0), 59), ((1, 4, 0), 63), ((3, 15, 0), 64), ((3, 17, 0), 66)),
    Event.POST.value: (
        ((0, 1, 0), 33),
        ((0, 2, 0), 37),
        ((2, 0, 0), 51),
        ((2, 1, 0), 52),
        ((3, 5, 0), 72),
        ((3, 8, 0), 76),
        ((3, 11, 0), 80),
        ((3, 16, 0), 84),
    ),
    _END: (((0, 1, 0), 1), ((2, 0, 0), 2), ((3, 13, 0), 6)),
    Event.FRAME_START.value: (((2, 2, 0), 8), ((3, 10, 0), 12)),
    Event.ITEM.value: (((3, 0, 0), 37), ((3, 2, 0), 41), ((3, 6, 0), 42), ((3, 16, 0), 44)),
    Event.FRAME_END.value: (((3, 0, 0), 4), ((3, 7, 0), 8)),
    Event.FOD_PLATFORM.value: (((3, 18, 0), 9),),
    Event.WHISPY.value: (((3, 18, 0), 5),),
    Event.STADIUM.value: (((3, 18, 0), 8),),
}
"""Payload bytes of each event (its command byte not counted), from a version on."""

_BIG = {"f4": ">f4", "u1": "u1", "i1": "i1", "u2": ">u2", "i4": ">i4", "u4": ">u4"}
_MAX_ROLLBACK = 7
_NOBODY = 6


@dataclass(frozen=True, slots=True)
class Rollback:
    """After row `t` was written with guessed values, its last `depth` rows are written again, correctly."""

    t: int
    depth: int


def payload_sizes(version: Version) -> dict[int, int]:
    """Payload bytes by command of a version. Events that it does not have are left out."""
    sizes = {}
    for code, steps in _SIZES.items():
        fitting = [size for since, size in steps if since <= version]
        if fitting:
            sizes[code] = fitting[-1]
    return sizes


def write_slp(game: Game, *, version: Version = LATEST, rollbacks: tuple[Rollback, ...] = ()) -> bytes:
    """The file. Raises ValueError for sparse tables that the version has no events for, and for rollbacks past 7."""
    sizes = payload_sizes(version)
    for name in game.sparse:
        table = _table(name)
        if table.event.value not in sizes:
            raise ValueError(f"version {version} has no {name}; they came with {table.since}")
    entries = b"".join(struct.pack(">BH", code, size) for code, size in sizes.items())
    stream = b"".join(
        (
            bytes([_PAYLOADS, 1 + len(entries)]) + entries,
            _game_start(game, version)[: 1 + sizes[_START]],
            _frames(game, sizes, rollbacks),
            _game_end(game)[: 1 + sizes[_END]],
        )
    )
    head = b"{U\x03raw[$U#l" + struct.pack(">i", len(stream))
    return head + stream + b"U\x08metadata" + dumps(_metadata(game)) + b"}"


# ---- frames ------------------------------------------------------------------------------------------------------


def _frames(game: Game, sizes: dict[int, int], rollbacks: tuple[Rollback, ...]) -> bytes:
    """All frame events, in the order in which the recorder wrote them."""
    right = _rows(game, sizes, game.columns, lag=_MAX_ROLLBACK if rollbacks else 0)
    lengths, parts = _assemble(game, sizes, right)
    if not rollbacks:
        return parts
    wrong_lengths, wrong = _assemble(game, sizes, _rows(game, sizes, _guessed(game.columns), lag=_MAX_ROLLBACK))
    ends, wrong_ends = np.cumsum(lengths), np.cumsum(wrong_lengths)
    out, at = [], 0
    for back in sorted(rollbacks, key=lambda b: b.t):
        first = back.t - back.depth + 1
        if not (at <= first <= back.t < game.num_frames and back.depth <= _MAX_ROLLBACK):
            raise ValueError(f"{back}: depth 1..7, inside the game, and not over the one before")
        begin = ends[first - 1] if first else 0
        out.append(parts[ends[at - 1] if at else 0 : begin])
        out.append(wrong[wrong_ends[first - 1] if first else 0 : wrong_ends[back.t]])
        at = first
    out.append(parts[ends[at - 1] if at else 0 :])
    return b"".join(out)


def _guessed(columns: dict[str, Array]) -> dict[str, Array]:
    """What one side believed before the other's pads arrived: positions and buttons of p1 are off."""
    changed = dict(columns)
    changed["p1.x"] = columns["p1.x"] + np.float32(1.25)
    changed["p1.percent"] = columns["p1.percent"] + np.float32(3)
    changed["p1.pad.buttons"] = columns["p1.pad.buttons"] ^ np.uint32(0x100)
    return changed


def _rows(game: Game, sizes: dict[int, int], columns: dict[str, Array], *, lag: int) -> list[tuple[int, Array]]:
    """Events that every row has, in order: (code, (T, bytes) with the command byte)."""
    num_rows = game.num_frames
    frame_ids = np.arange(num_rows) + FIRST_FRAME_ID
    rows: list[tuple[int, Array]] = []

    def event(code: int) -> Array:
        block = np.zeros((num_rows, 1 + sizes[code]), dtype=np.uint8)
        block[:, 0] = code
        _put(block, 0x1, "i4", frame_ids)
        rows.append((code, block))
        return block

    if Event.FRAME_START.value in sizes:
        block = event(Event.FRAME_START.value)
        _put(block, 0x5, "u4", columns["random_seed"])
        _put(block, 0x9, "u4", np.arange(num_rows))
    for kind, scope in ((Event.PRE, Scope.PAD), (Event.POST, Scope.PLAYER)):
        for player, port in zip(PLAYERS, game.ports, strict=True):
            block = event(kind.value)
            block[:, 0x5] = port
            for row in LAYOUT.rows:
                if row.scope is scope and row.stored:
                    _put_field(
                        block, row, _on_wire(row, columns[scope.value.format(player=player, name=row.name)], game)
                    )
            if kind is Event.PRE:
                _put(block, 0x7, "u4", columns["random_seed"])
                for offset, type_, name in _BEFORE:
                    _put(block, offset, type_, _shifted(columns[f"{player}.{name}"]))
    if Event.FRAME_END.value in sizes:
        block = event(Event.FRAME_END.value)
        _put(block, 0x5, "i4", np.maximum(frame_ids - lag, FIRST_FRAME_ID))
    return rows


_BEFORE = (
    (0xB, "u2", "action_state"),
    (0xD, "f4", "x"),
    (0x11, "f4", "y"),
    (0x15, "f4", "facing"),
    (0x3C, "f4", "percent"),
)
"""State that the Pre-Frame event repeats: it is that of the row before."""


def _shifted(values: Array) -> Array:
    return np.concatenate([values[:1], values[:-1]])


def _on_wire(row: Field, values: Array, game: Game) -> Array:
    if row.name != "last_hit_by":
        return values
    ports = np.array([*game.ports, *(_NOBODY,) * 5], dtype=np.uint8)  # players become ports, nobody stays nobody
    return ports[np.minimum(values, len(ports) - 1)]


def _put_field(block: Array, row: Field, values: Array) -> None:
    wire = row.wire[0]
    if wire.type == "u1x5":
        if wire.offset + 5 <= block.shape[1]:
            block[:, wire.offset : wire.offset + 5] = values.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :5]
        return
    _put(block, wire.offset, wire.type, values)


def _put(block: Array, offset: int, type_: str, values: Array) -> None:
    """Write a column of big-endian values, unless the event is too short to have it."""
    wire = np.ascontiguousarray(values.astype(_BIG[type_]))
    width = wire.dtype.itemsize
    if offset + width <= block.shape[1]:
        block[:, offset : offset + width] = wire.view(np.uint8).reshape(-1, width)


def _assemble(game: Game, sizes: dict[int, int], rows: list[tuple[int, Array]]) -> tuple[Array, bytes]:
    """Bytes of every row (T,), and all rows. Stage events follow the frame start, items the pads."""
    lengths = np.full(game.num_frames, sum(block.shape[1] for _, block in rows))
    if not game.sparse:
        return lengths, np.concatenate([block for _, block in rows], axis=1).tobytes()
    extra = [(_table(name), values) for name, values in game.sparse.items()]
    extra.sort(key=lambda pair: pair[0].event is Event.ITEM)
    for table, values in extra:
        size = 1 + sizes[table.event.value]
        lengths = lengths + np.bincount(values["t"], minlength=game.num_frames) * size
    buffer = np.zeros(int(lengths.sum()), dtype=np.uint8)
    at = np.cumsum(lengths) - lengths
    before_pads = [(code, block) for code, block in rows if code == Event.FRAME_START.value]
    pads = [(code, block) for code, block in rows if code == Event.PRE.value]
    rest = [(code, block) for code, block in rows if code in (Event.POST.value, Event.FRAME_END.value)]
    for _, block in before_pads:
        at = _scatter(buffer, at, block)
    for table, values in (pair for pair in extra if pair[0].event is not Event.ITEM):
        at = _scatter_sparse(buffer, at, table, values, sizes)
    for _, block in pads:
        at = _scatter(buffer, at, block)
    for table, values in (pair for pair in extra if pair[0].event is Event.ITEM):
        at = _scatter_sparse(buffer, at, table, values, sizes)
    for _, block in rest:
        at = _scatter(buffer, at, block)
    return lengths, buffer.tobytes()


def _scatter(buffer: Array, at: Array, block: Array) -> Array:
    buffer[at[:, None] + np.arange(block.shape[1])] = block
    return np.asarray(at + block.shape[1])


def _scatter_sparse(
    buffer: Array, at: Array, table: SparseTable, values: dict[str, Array], sizes: dict[int, int]
) -> Array:
    t = values["t"]
    if (np.diff(t) < 0).any():
        raise ValueError(f"rows of {table.name} are not in order of frames")
    block = np.zeros((len(t), 1 + sizes[table.event.value]), dtype=np.uint8)
    block[:, 0] = table.event.value
    _put(block, 0x1, "i4", t + FIRST_FRAME_ID)
    for column in table.columns:
        if column.name in values:
            _put(block, column.wire.offset, column.wire.type, values[column.name])
    counts = np.bincount(t, minlength=len(at))
    nth = np.arange(len(t)) - (np.cumsum(counts) - counts)[t]
    _scatter(buffer, at[t] + nth * block.shape[1], block)
    return np.asarray(at + counts * block.shape[1])


def _table(name: str) -> SparseTable:
    return next(table for table in SPARSE_TABLES if table.name == name)


# ---- the game as a whole -----------------------------------------------------------------------------------------


def _game_start(game: Game, version: Version) -> bytes:
    event = bytearray(761)
    event[0] = _START
    event[1:4] = bytes(version)
    event[0x5] = 1 << 5 | 0x12  # a stock match with a clock
    event[0x10] = 0xFF  # no items
    struct.pack_into(">H", event, 0x13, game.stage)
    struct.pack_into(">I", event, 0x15, 480)
    for port in range(6):
        event[0x66 + 0x24 * port] = 3  # empty
    for index, port in enumerate(game.ports):
        block = 0x24 * port
        event[0x65 + block] = game.characters[index]
        event[0x66 + block] = 0  # human, as far as the file says
        event[0x67 + block] = game.stocks
        event[0x68 + block] = index
        struct.pack_into(">II", event, 0x141 + 8 * port, 1, 1)
        _text(event, 0x1A5 + 0x1F * port, 31, game.names[index])
        _text(event, 0x221 + 0xA * port, 10, game.codes[index].replace("#", "＃"))
    struct.pack_into(">I", event, 0x13D, game.seed)
    event[0x1A2] = 1  # frozen Stadium
    event[0x1A3], event[0x1A4] = 2, 8
    _text(event, 0x2BE, 51, game.match_id)
    struct.pack_into(">I", event, 0x2F1, game.game_number)
    return bytes(event)


def _text(event: bytearray, offset: int, width: int, text: str) -> None:
    raw = text.encode("shift_jis")
    if len(raw) >= width:
        raise ValueError(f"{text!r} does not fit into {width} bytes")
    event[offset : offset + len(raw)] = raw


def _game_end(game: Game) -> bytes:
    left = [int(game.columns[f"{player}.stocks"][-1]) for player in PLAYERS]
    harm = [float(game.columns[f"{player}.percent"][-1]) for player in PLAYERS]
    loser = int((left[0], -harm[0]) > (left[1], -harm[1]))
    places = [-1, -1, -1, -1]
    places[game.ports[loser]], places[game.ports[1 - loser]] = 1, 0
    return struct.pack(">BBb4b", _END, 2 if game.by_stocks else 1, -1, *places)


def _metadata(game: Game) -> dict[str, Any]:
    players = {
        str(port): {
            "names": {"netplay": game.names[index], "code": game.codes[index]},
            "characters": {str(int(game.columns[f"{PLAYERS[index]}.character"][0])): game.num_frames},
        }
        for index, port in enumerate(game.ports)
    }
    return {
        "startAt": game.started_at,
        "lastFrame": game.num_frames + FIRST_FRAME_ID - 1,
        "players": players,
        "playedOn": "synth",
    }
