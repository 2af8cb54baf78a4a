"""Where every event of a replay stands: the file's envelope, the payload sizes, and one pass over the stream.

Owns: offsets. Must not: know what an event means beyond what frames it into rows.
Source of the format: project-slippi/slippi-wiki, SPEC.md ("The raw element", "Event Payloads").

The pass costs about 0.1 us per frame, because a frame mostly has the shape of the one before it: its events are
walked one by one only when the shape changes, and while it does not, whole stretches of frames are compared with
strided slices, every command byte of every event. Positions are therefore the same as those of a walk event by event.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.replays.replay import ParseError
from worldmodel.schema import Event

ENVELOPE = b"{U\x03raw[$U#l"
METADATA_KEY = b"U\x08metadata"

PAYLOAD_SIZES, GAME_START, GAME_END = 0x35, 0x36, 0x39
_PRE, _FRAME_START = Event.PRE.value, Event.FRAME_START.value

_LEAST_SIZES = {GAME_START: 5, _PRE: 7, Event.POST.value: 7, _FRAME_START: 5}
"""Bytes that say whose an event is, with the command byte. Frame Start may be missing altogether."""

_ONE_BYTE = [bytes([code]) for code in range(256)]
_FIRST_GALLOP, _LONGEST_GALLOP = 64, 1024


@dataclass(frozen=True, slots=True)
class Envelope:
    """The event stream is `data[start:end]`; metadata, if any, begins at `metadata`.

    cut: the file ends before the stream has its promised length.
    """

    start: int
    end: int
    metadata: int | None
    cut: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """One event stream, taken apart.

    sizes: (256,) bytes of an event with its command byte; 0 for codes that the stream does not announce.
    single: position of the first event of each code outside of frames, and of the Game End.
    rows: (R,) position of the first event of each frame copy, in file order.
    shape_of_row: (R,) which of `shapes` a row has. A shape is the (offset, code) of its events, in order.
    cut: the stream ends inside an event, or before its promised length.
    """

    data: bytes
    sizes: list[int]
    single: dict[int, int]
    rows: NDArray[np.int64]
    shape_of_row: NDArray[np.int64]
    shapes: list[tuple[tuple[int, int], ...]]
    cut: bool

    def positions(self, code: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of every event of a code: its position (E,), ascending, and its row (E,)."""
        offsets = [[offset for offset, other in shape if other == code] for shape in self.shapes]
        flat = np.array([offset for group in offsets for offset in group], dtype=np.int64)
        counts = np.array([len(group) for group in offsets], dtype=np.int64)
        having = np.flatnonzero(counts[self.shape_of_row])
        shape, count = self.shape_of_row[having], counts[self.shape_of_row[having]]
        row = np.repeat(having, count)
        before = np.cumsum(count) - count  # events in earlier rows
        slot = np.arange(len(row)) + np.repeat((np.cumsum(counts) - counts)[shape] - before, count)
        return self.rows[row] + flat[slot], row


def open_envelope(data: bytes) -> Envelope:
    """Find the event stream. Raises ParseError("not_slippi")."""
    if not data.startswith(ENVELOPE) or len(data) < len(ENVELOPE) + 4:
        if data and ENVELOPE.startswith(data[: len(ENVELOPE)]):
            raise ParseError("truncated", f"{len(data)} bytes, ends inside the envelope")
        raise ParseError("not_slippi", f"begins with {data[:12]!r}" if data else "empty file")
    start = len(ENVELOPE) + 4
    (length,) = struct.unpack_from(">i", data, len(ENVELOPE))
    if length < 0:
        raise ParseError("not_slippi", f"event stream of {length} bytes")
    if (
        length == 0
    ):  # still being written, or its writer died: the stream runs to the end, or to metadata put there later
        at = data.rfind(METADATA_KEY)
        return Envelope(start, at if at > 0 else len(data), at + len(METADATA_KEY) if at > 0 else None, cut=False)
    end = start + length
    if end > len(data):
        return Envelope(start, len(data), None, cut=True)
    has_metadata = data.startswith(METADATA_KEY, end)
    return Envelope(start, end, end + len(METADATA_KEY) if has_metadata else None, cut=False)


def read_sizes(data: bytes, start: int, end: int) -> tuple[list[int], int]:
    """Sizes by command code (with the command byte), and the position of the first event after them."""
    if start + 2 > end:
        raise ParseError("truncated", "the event stream is empty")
    if data[start] != PAYLOAD_SIZES:
        raise ParseError("bad_payload_sizes", f"the stream begins with event 0x{data[start]:02x}, not 0x35")
    payload = data[start + 1]
    if payload % 3 != 1:
        raise ParseError("bad_payload_sizes", f"a table of {payload} bytes")
    after = start + 1 + payload
    if after > end:
        raise ParseError("truncated", "ends inside the payload sizes")
    sizes = [0] * 256
    for at in range(start + 2, after, 3):
        size = data[at + 1] << 8 | data[at + 2]
        if size == 0:
            raise ParseError("bad_payload_sizes", f"event 0x{data[at]:02x} with a payload of 0 bytes")
        sizes[data[at]] = size + 1
    for code, least in _LEAST_SIZES.items():
        if sizes[code] < least and (sizes[code] or code != _FRAME_START):
            raise ParseError("bad_payload_sizes", f"event 0x{code:02x} of {sizes[code]} bytes")
    return sizes, after


def walk(data: bytes, envelope: Envelope) -> Stream:
    """One pass over the stream. Raises ParseError("unknown_event") for a code that has no size.

    A row begins at a Frame Start event; in versions before those existed (2.2), at the first Pre-Frame event after
    another kind.
    """
    sizes, at = read_sizes(data, envelope.start, envelope.end)
    end = envelope.end
    head = _FRAME_START if sizes[_FRAME_START] else _PRE
    single: dict[int, int] = {}
    while at < end and data[at] != head:
        size = _size(data, sizes, at)
        if at + size > end:
            return _stream(data, sizes, single, [], [], cut=True)
        if data[at] == GAME_START and data[at + 4]:
            raise ParseError("slippc_encoded", f"slippc's own re-encoding of the stream, its version {data[at + 4]}")
        single.setdefault(data[at], at)
        at += size

    runs: list[tuple[int, int, int, int]] = []  # first position, stride, frames, shape
    shape_index: dict[tuple[tuple[int, int], ...], int] = {}
    cut = False
    while at < end and not cut:
        first, shape = at, []
        code = head
        while True:
            size = sizes[code] or _size(data, sizes, at)
            if at + size > end:
                cut = True
                break
            shape.append((at - first, code))
            if code == GAME_END:
                single[code] = at
            at += size
            if at >= end or code == GAME_END:
                break
            following = data[at]
            if following == head and (code != head or head == _FRAME_START):
                break
            code = following
        if not shape:
            break
        stride, frames = at - first, 1
        if code == GAME_END:
            at = end  # whatever follows is no part of the game
        elif not cut:
            frames += _gallop(data, at, end, stride, [*shape[1:], (stride, head)])
            at = first + frames * stride
        runs.append((first, stride, frames, shape_index.setdefault(tuple(shape), len(shape_index))))
    return _stream(data, sizes, single, runs, list(shape_index), cut=cut or envelope.cut)


def _gallop(data: bytes, at: int, end: int, stride: int, expected: list[tuple[int, int]]) -> int:
    """How many frames from `at` on have the expected command bytes: compared in strides, ever longer ones.

    expected: (offset, code) of the events after the first, and of the first event of the next frame.
    """
    total, room, reach = 0, (end - at - 1) // stride, _FIRST_GALLOP
    while room > 0:
        wanted = same = min(reach, room)
        for offset, code in expected:
            commands = data[at + offset : at + offset + same * stride : stride]
            same = len(commands) - len(commands.lstrip(_ONE_BYTE[code]))
            if not same:
                return total
        total, at, room = total + same, at + same * stride, room - same
        if same < wanted:
            break
        reach = min(reach * 2, _LONGEST_GALLOP)
    return total


def _size(data: bytes, sizes: list[int], at: int) -> int:
    size = sizes[data[at]]
    if not size:
        raise ParseError("unknown_event", f"0x{data[at]:02x} at byte {at}")
    return size


def _stream(
    data: bytes,
    sizes: list[int],
    single: dict[int, int],
    runs: list[tuple[int, int, int, int]],
    shapes: list[tuple[tuple[int, int], ...]],
    *,
    cut: bool,
) -> Stream:
    first, stride, frames, shape = np.array(runs, dtype=np.int64).reshape(-1, 4).T
    within = np.arange(frames.sum()) - np.repeat(np.cumsum(frames) - frames, frames)
    rows = np.repeat(first, frames) + np.repeat(stride, frames) * within
    return Stream(data, sizes, single, rows, np.repeat(shape, frames), shapes, cut)
