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

_FRAME_ID, _PORT, _IS_FOLLOWER = 0x1, 0x5, 0x6
_PER_PLAYER = (Event.PRE, Event.POST)

Positions = NDArray[np.int64]
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
        columns=_read_columns(stream, frames) if frames.of_player else {},
        sparse=_read_sparse(stream, frames) if frames.of_player else {},
    )


def _event(stream: Stream, code: int) -> bytes:
    at = stream.single[code]
    return stream.data[at : at + stream.sizes[code]]


# ---- frames ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frames:
    """Which rows of the stream count.

    kept: (T,) row of each frame id, in order of ids. num_rows: whole rows before rollbacks were resolved.
    of_player: position of each kept frame's event, by (event, index of the player). Empty unless two players play.
    """

    first_id: int
    kept: NDArray[np.int64]
    num_rows: int
    num_followers: int
    of_player: dict[tuple[Event, int], Positions]


def _read_frames(stream: Stream, start: GameStart) -> _Frames:
    octets = np.frombuffer(stream.data, dtype=np.uint8)
    ports = [player.port for player in start.players]
    is_duel = len(ports) == len(PLAYERS)
    num_rows = len(stream.rows)
    followers: set[int] = set()
    of_player: dict[tuple[Event, int], Positions] = {}
    for event in _PER_PLAYER:
        for index, at in enumerate(_positions_by_port(stream, event, octets, ports, followers)):
            if is_duel:
                of_player[event, index] = at
    if num_rows and any(at[-1] < 0 for at in of_player.values()):
        num_rows -= 1  # the last row was cut off before all players had their events: not a frame
    if not num_rows:
        raise ParseError("truncated" if stream.cut else "no_frames", "ends before the first whole frame")

    ids = _gather(stream.data, stream.rows[:num_rows] + _FRAME_ID, 4).view(">i4").astype(np.int64)
    kept = _last_copies(ids)
    for (event, index), at in of_player.items():
        chosen = at[kept]
        if (missing := np.flatnonzero(chosen < 0)).size:
            raise ParseError(
                "incomplete_frame",
                f"frame {ids[kept[missing[0]]]} has no {event.name.lower()}-frame event of port {ports[index] + 1}",
            )
        of_player[event, index] = chosen
    return _Frames(int(ids[kept[0]]), kept, num_rows, len(followers), of_player)


def _positions_by_port(
    stream: Stream, event: Event, octets: NDArray[np.uint8], ports: list[int], followers: set[int]
) -> list[Positions]:
    """For each port: (R,) position of its event in each row, -1 where it has none.

    Adds to `followers` the ports whose second body has events.
    """
    table = stream.slots(event.value)
    if table is not None and table.shape[1] == len(ports):  # the usual case: as many events in each row as ports
        columns = [np.ascontiguousarray(column) for column in table.T]
        if all(
            (octets[at + _PORT] == port).all() and not octets[at + _IS_FOLLOWER].any()
            for port, at in zip(ports, columns, strict=True)
        ):
            return columns
    at, row = stream.positions(event.value)
    port_of, is_leader = octets[at + _PORT], octets[at + _IS_FOLLOWER] == 0
    if strangers := sorted(set(np.unique(port_of).tolist()) - set(ports)):
        raise ParseError("unannounced_player", f"frames of port {strangers[0] + 1}, empty in Game Start")
    followers.update(np.unique(port_of[~is_leader]).tolist())
    out = []
    for port in ports:
        mine = is_leader & (port_of == port)
        full = np.full(len(stream.rows), -1, dtype=np.int64)
        full[row[mine]] = at[mine]
        out.append(full)
    return out


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


def _gather(data: bytes, at: Positions, size: int) -> NDArray[np.void]:
    """(len(at),) records of `size` bytes that begin at the positions."""
    if not len(at):
        return np.empty(0, dtype=f"V{size}")
    sliding = np.ndarray((len(data) - size + 1,), dtype=f"V{size}", buffer=data, strides=(1,))
    return np.asarray(sliding[at])


def _native(records: NDArray[np.void], wire: Wire, dtype: StoreType) -> Array:
    """(T,) one value of each record, in native byte order."""
    octets = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
    octets = octets[:, wire.offset : wire.offset + _WIDTH[wire.type]]
    if wire.type == "u1x5":
        padded = np.zeros((len(records), 8), dtype=np.uint8)
        padded[:, :5] = octets
        return padded.view("<u8")[:, 0].astype(np.uint64, copy=False)
    return np.asarray(octets.view(_WIRE_FORMAT[wire.type])[:, 0].astype(dtype))


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
    records: dict[tuple[Event, int], NDArray[np.void]] = {}
    out: dict[str, Array] = {}
    ids = np.arange(frames.first_id, frames.first_id + len(frames.kept))
    for column, wire in _plan(tuple(stream.sizes)):
        player = PLAYERS.index(column.player) if column.player else 0
        source = (wire.event, player)
        if source not in records:
            at = frames.of_player[source] if source in frames.of_player else stream.rows[frames.kept]
            records[source] = _gather(stream.data, at, stream.sizes[wire.event.value])
            _check_ids(records[source], ids, wire.event)
        out[column.name] = _native(records[source], wire, column.field.dtype)
    return out


def _check_ids(records: NDArray[np.void], ids: NDArray[np.int64], event: Event) -> None:
    found = _native(records, Wire(event, _FRAME_ID, "i4"), "i4")  # type: ignore[arg-type]
    if (wrong := np.flatnonzero(found != ids)).size:
        raise ParseError(
            "frame_id_mismatch",
            f"frame {ids[wrong[0]]} holds a {event.name.lower()} event of frame {found[wrong[0]]}",
        )


def _read_sparse(stream: Stream, frames: _Frames) -> dict[str, dict[str, Array]]:
    frame_of_row = np.full(len(stream.rows), -1, dtype=np.int32)
    frame_of_row[frames.kept] = np.arange(len(frames.kept), dtype=np.int32)
    out: dict[str, dict[str, Array]] = {}
    for table in SPARSE_TABLES:
        if not stream.sizes[table.event.value]:
            continue
        at, row = stream.positions(table.event.value)
        counts = frame_of_row[row] >= 0
        records = _gather(stream.data, at[counts], stream.sizes[table.event.value])
        out[table.name] = {"t": frame_of_row[row[counts]]} | {
            column.name: _native(records, column.wire, column.dtype)
            for column in table.columns
            if _fits(column.wire, stream.sizes)
        }
    return out
