"""Bytes to a `Replay`, by walking the schema's table.

Owns: which copy of a frame counts (the last), whose events they are, and bytes to columns. Must not: judge a game,
that is `filters.py`; name a field.

A frame id comes back where online play rolled back and simulated again; the last copy is the one that both sides
agreed on. What is left must run from the first id to the last without holes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from worldmodel.replays.header import GameStart, read_game_end, read_game_start, read_metadata
from worldmodel.replays.replay import ParseError, Replay
from worldmodel.replays.wire import GAME_END, GAME_START, Stream, open_envelope, walk
from worldmodel.schema import LAYOUT, PLAYERS, Event
from worldmodel.schema.field import StoreType, Wire
from worldmodel.schema.layout import Column
from worldmodel.schema.sparse import SPARSE_TABLES

_FRAME_ID, _PORT, _IS_FOLLOWER = 0x1, 0x5, 0x6  # offsets in both players' events; four bytes, one, one
_PER_PLAYER = (Event.PRE, Event.POST)

Positions = NDArray[np.int64]
Octets = NDArray[np.uint8]
Array = NDArray[np.generic]


def parse_replay(data: bytes) -> Replay:
    """Read one `.slp` file. Any bytes end in a Replay or in ParseError, which says what they are instead."""
    envelope = open_envelope(data)
    metadata = read_metadata(data, envelope.metadata)
    stream = walk(data, envelope)
    if GAME_START not in stream.single:
        raise ParseError("truncated" if stream.cut else "no_game_start", "no Game Start event before the frames")
    start = read_game_start(_event(stream, GAME_START), metadata)
    end = read_game_end(_event(stream, GAME_END) if GAME_END in stream.single else None)
    frames = _read_frames(stream, start)
    return Replay(
        version=start.version,
        stage=start.stage,
        players=start.players,
        is_teams=start.is_teams,
        items_on=start.items_on,
        game_mode=start.game_mode,
        scene=start.scene,
        is_pal=start.is_pal,
        is_frozen_stadium=start.is_frozen_stadium,
        match_id=start.match_id,
        game_number=start.game_number,
        timer_s=start.timer_s,
        started_at=metadata.started_at,
        platform=metadata.platform,
        seed=start.seed,
        end_method=end.method,
        quitter=end.quitter,
        placements=end.placements,
        first_frame_id=frames.first_id,
        num_frames=len(frames.kept),
        num_rollback_rows=frames.num_rows - len(frames.kept),
        num_followers=frames.num_followers,
        columns=_read_columns(stream, frames) if frames.events else {},
        sparse=_read_sparse(stream, frames) if frames.events else {},
    )


def _event(stream: Stream, code: int) -> bytes:
    at = stream.single[code]
    return stream.data[at : at + stream.sizes[code]]


# ---- frames ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frames:
    """Which rows of the stream count, and the players' events in them.

    kept: (T,) row of each frame id, in order of ids. num_rows: whole rows before rollbacks were resolved.
    heads: (T, size) bytes of the first event of each kept row. events: those of the players' events, by (event, index
    of the player); empty unless two play.
    """

    first_id: int
    kept: NDArray[np.int64]
    num_rows: int
    num_followers: int
    heads: Octets
    events: dict[tuple[Event, int], Octets]


def _read_frames(stream: Stream, start: GameStart) -> _Frames:
    ports = [player.port for player in start.players]
    is_duel = len(ports) == len(PLAYERS)
    num_rows = len(stream.rows)
    if is_duel and num_rows and not _is_whole(stream, num_rows - 1, ports):
        num_rows -= 1  # cut off before all players had their events: not a frame
    if not num_rows:
        raise ParseError("truncated" if stream.cut else "no_frames", "ends before the first whole frame")
    heads = _gather(stream.data, stream.rows[:num_rows], stream.sizes[Event.FRAME_START.value] or _PORT)
    ids = heads[:, _FRAME_ID:_PORT].view(">i4")[:, 0].astype(np.int64)
    kept = _last_copies(ids)
    ids, heads = ids[kept], heads[kept]
    num_followers, events = 0, _regular_events(stream, kept, ports) if is_duel else None
    if events is None:
        num_followers, by_port = _events_by_port(stream, ports)
        events = {key: _pick(stream, key, at[kept], ids, ports) for key, at in by_port.items() if is_duel}
    for (event, _), octets in events.items():
        _check_ids(octets, ids, event)
    return _Frames(int(ids[0]), kept, num_rows, num_followers, heads, events)


def _is_whole(stream: Stream, row: int, ports: list[int]) -> bool:
    """Whether a row has both events of every player."""
    first, data = int(stream.rows[row]), stream.data
    there = {
        (code, data[first + offset + _PORT])
        for offset, code in stream.shapes[stream.shape_of_row[row]]
        if code in (Event.PRE.value, Event.POST.value) and not data[first + offset + _IS_FOLLOWER]
    }
    return all((event.value, port) in there for event in _PER_PLAYER for port in ports)


def _regular_events(
    stream: Stream, kept: NDArray[np.int64], ports: list[int]
) -> dict[tuple[Event, int], Octets] | None:
    """The players' events where every row has exactly one of each, players in order, one right after the other.

    Almost every game of two is so. Two copies of bytes then do for all events. None if it is not.
    """
    rows, shape_of_row = stream.rows[kept], stream.shape_of_row[kept]
    shapes = np.flatnonzero(np.bincount(shape_of_row)).tolist()
    out: dict[tuple[Event, int], Octets] = {}
    for event in _PER_PLAYER:
        size = stream.sizes[event.value]
        block = range(0, len(ports) * size, size)
        first_of_shape = np.zeros(len(stream.shapes), dtype=np.int64)
        for index in shapes:
            offsets = [offset for offset, code in stream.shapes[index] if code == event.value]
            if not offsets or offsets != [offsets[0] + step for step in block]:
                return None
            first_of_shape[index] = offsets[0]
        octets = _gather(stream.data, rows + first_of_shape[shape_of_row], len(ports) * size)
        for player, (port, begin) in enumerate(zip(ports, block, strict=True)):
            mine = octets[:, begin : begin + size]
            if (mine[:, _PORT] != port).any() or mine[:, _IS_FOLLOWER].any():
                return None
            out[event, player] = mine
    return out


def _events_by_port(stream: Stream, ports: list[int]) -> tuple[int, dict[tuple[Event, int], Positions]]:
    """For any stream: how many players have a second body, and by (event, index of the player) the position of the
    player's event in each row (R,), -1 where it has none.
    """
    octets = np.frombuffer(stream.data, dtype=np.uint8)
    followed: set[int] = set()
    out: dict[tuple[Event, int], Positions] = {}
    for event in _PER_PLAYER:
        at, row = stream.positions(event.value)
        port_of, is_leader = octets[at + _PORT], octets[at + _IS_FOLLOWER] == 0
        if strangers := sorted(set(np.unique(port_of).tolist()) - set(ports)):
            raise ParseError("unannounced_player", f"frames of port {strangers[0] + 1}, empty in Game Start")
        followed.update(np.unique(port_of[~is_leader]).tolist())
        for player, port in enumerate(ports):
            mine = is_leader & (port_of == port)
            out[event, player] = np.full(len(stream.rows), -1, dtype=np.int64)
            out[event, player][row[mine]] = at[mine]
    return len(followed), out


def _pick(stream: Stream, key: tuple[Event, int], at: Positions, ids: NDArray[np.int64], ports: list[int]) -> Octets:
    event, player = key
    if (missing := np.flatnonzero(at < 0)).size:
        what = f"{event.name.lower()}-frame event of port {ports[player] + 1}"
        raise ParseError("incomplete_frame", f"frame {ids[missing[0]]} has no {what}")
    return _gather(stream.data, at, stream.sizes[event.value])


def _check_ids(octets: Octets, ids: NDArray[np.int64], event: Event) -> None:
    found = octets[:, _FRAME_ID:_PORT].view("u4")[:, 0]  # both big-endian: equal bits are equal ids
    if (wrong := np.flatnonzero(found != ids.astype(">i4").view("u4"))).size:
        other = int(found[wrong[:1]].view(">i4")[0])
        raise ParseError(
            "frame_id_mismatch", f"frame {ids[wrong[0]]} holds a {event.name.lower()}-frame event of frame {other}"
        )


def _last_copies(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the last copy of each id, in order of ids. Raises ParseError("frame_gaps") if an id is left out."""
    if (np.diff(ids) == 1).all():
        return np.arange(len(ids))
    first, span = int(ids.min()), int(ids.max()) - int(ids.min()) + 1
    if span > len(ids):
        missing = np.flatnonzero(np.diff(np.unique(ids)) != 1)[0]
        raise ParseError("frame_gaps", f"no frame {np.unique(ids)[missing] + 1} of {first} to {first + span - 1}")
    last = np.full(span, -1, dtype=np.int64)
    last[ids - first] = np.arange(len(ids))  # of equal indices the last assignment stays
    if (holes := np.flatnonzero(last < 0)).size:
        raise ParseError("frame_gaps", f"no frame {first + holes[0]} of {first} to {first + span - 1}")
    return last


# ---- columns -----------------------------------------------------------------------------------------------------

_WIRE_FORMAT = {"f4": ">f4", "u1": "u1", "i1": "i1", "u2": ">u2", "i4": ">i4", "u4": ">u4"}
_WIDTH = {"f4": 4, "u1": 1, "i1": 1, "u2": 2, "i4": 4, "u4": 4, "u1x5": 5}


def _gather(data: bytes, at: Positions, size: int) -> Octets:
    """(len(at), size) the bytes that begin at each position."""
    if not len(at):
        return np.empty((0, size), dtype=np.uint8)
    sliding = np.ndarray((len(data) - size + 1,), dtype=f"V{size}", buffer=data, strides=(1,))
    return sliding[at].view(np.uint8).reshape(-1, size)


def _native(octets: Octets, wire: Wire, dtype: StoreType) -> Array:
    """(T,) one value of each event, in native byte order."""
    value = octets[:, wire.offset : wire.offset + _WIDTH[wire.type]]
    if wire.type == "u1x5":
        padded = np.zeros((len(octets), 8), dtype=np.uint8)
        padded[:, :5] = value
        return padded.view("<u8")[:, 0].astype(np.uint64, copy=False)
    return np.asarray(value.view(_WIRE_FORMAT[wire.type])[:, 0].astype(dtype))


def _fits(wire: Wire, sizes: list[int]) -> bool:
    return wire.offset + _WIDTH[wire.type] <= sizes[wire.event.value]


@lru_cache(maxsize=64)
def _plan(sizes: tuple[int, ...]) -> tuple[tuple[Column, Wire], ...]:
    """The columns that a stream with these sizes records, each with the source that it is read from."""
    chosen = []
    for column in LAYOUT.columns:
        wire = next((wire for wire in column.field.wire if _fits(wire, list(sizes))), None)
        if column.field.stored and wire is not None:
            chosen.append((column, wire))
    return tuple(chosen)


def _read_columns(stream: Stream, frames: _Frames) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for column, wire in _plan(tuple(stream.sizes)):
        player = PLAYERS.index(column.player) if column.player else 0
        octets = frames.events.get((wire.event, player), frames.heads)
        out[column.name] = _native(octets, wire, column.field.dtype)
    return out


def _read_sparse(stream: Stream, frames: _Frames) -> dict[str, dict[str, Array]]:
    frame_of_row = np.full(len(stream.rows), -1, dtype=np.int32)
    frame_of_row[frames.kept] = np.arange(len(frames.kept), dtype=np.int32)
    out: dict[str, dict[str, Array]] = {}
    for table in SPARSE_TABLES:
        if not stream.sizes[table.event.value]:
            continue
        at, row = stream.positions(table.event.value)
        counts = np.flatnonzero(frame_of_row[row] >= 0)
        frame = frame_of_row[row[counts]]
        if (np.diff(frame) < 0).any():  # the stream ends within a rollback: an earlier frame came last
            order = np.argsort(frame, kind="stable")
            counts, frame = counts[order], frame[order]
        records = _gather(stream.data, at[counts], stream.sizes[table.event.value])
        out[table.name] = {"t": frame} | {
            column.name: _native(records, column.wire, column.dtype)
            for column in table.columns
            if _fits(column.wire, stream.sizes)
        }
    return out
