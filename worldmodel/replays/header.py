"""Facts of a whole game: the Game Start and Game End events, and the metadata.

Owns: their byte offsets. Must not: look at frames.
Source of the offsets: project-slippi/slippi-wiki, SPEC.md ("Game Start", "Game Info Block", "Game End", "Metadata").
A value is there if the event is long enough to hold it; the version is never asked.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass
from typing import Any

from worldmodel.replays.replay import ParseError, Player
from worldmodel.replays.ubjson import UBJson, UBJsonError, loads

NUM_PORTS = 4
_EMPTY = 3
_KINDS = {0: "human", 1: "cpu", 2: "demo"}
_END_METHODS = {0: "unresolved", 1: "time", 2: "game", 3: "resolved", 7: "no_contest"}


@dataclass(frozen=True, slots=True)
class GameStart:
    """What the Game Start event says. See `Replay` for the meaning of the fields."""

    version: tuple[int, int, int]
    stage: int
    players: tuple[Player, ...]
    is_teams: bool
    items_on: bool
    game_mode: int
    scene: tuple[int, int] | None
    is_pal: bool | None
    is_frozen_stadium: bool | None
    match_id: str
    game_number: int | None
    timer_s: int
    seed: int


@dataclass(frozen=True, slots=True)
class GameEnd:
    """How the game ended."""

    method: str
    quitter: int | None = None
    placements: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the recorder wrote beside the events. All of it may be missing."""

    started_at: str = ""
    platform: str = ""
    names: tuple[str, ...] = ("",) * NUM_PORTS
    codes: tuple[str, ...] = ("",) * NUM_PORTS


class _Payload:
    """An event's bytes, read by offset from its command byte; None past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, offset: int, kind: str) -> int | None:
        if offset + struct.calcsize(kind) > len(self.data):
            return None
        return int(struct.unpack_from(">" + kind, self.data, offset)[0])

    def known(self, offset: int, kind: str) -> int:
        value = self.number(offset, kind)
        if value is None:
            raise ParseError("bad_payload_sizes", f"a Game Start event of {len(self.data)} bytes")
        return value

    def flag(self, offset: int) -> bool | None:
        value = self.number(offset, "B")
        return None if value is None else value != 0

    def text(self, offset: int, width: int, encoding: str) -> str:
        """A zero-terminated string; "" past the event's end. Full-width letters become ordinary ones."""
        if offset + width > len(self.data):
            return ""
        raw = self.data[offset : offset + width].split(b"\0", 1)[0]
        return unicodedata.normalize("NFKC", raw.decode(encoding, errors="replace")).strip()


def read_game_start(event: bytes, metadata: Metadata) -> GameStart:
    """Read the event (command byte included). Netplay names fall back to the metadata's. Raises ParseError."""
    p = _Payload(event)
    is_teams = bool(p.flag(0xD))
    minor, major = p.number(0x1A3, "B"), p.number(0x1A4, "B")
    return GameStart(
        version=(p.known(0x1, "B"), p.known(0x2, "B"), p.known(0x3, "B")),
        stage=p.known(0x13, "H"),
        players=tuple(
            _player(p, port, metadata, is_teams=is_teams)
            for port in range(NUM_PORTS)
            if p.known(0x66 + 0x24 * port, "B") != _EMPTY
        ),
        is_teams=is_teams,
        items_on=p.known(0x10, "b") >= 0,
        game_mode=p.known(0x5, "B") >> 5,
        scene=None if minor is None or major is None else (minor, major),
        is_pal=p.flag(0x1A1),
        is_frozen_stadium=p.flag(0x1A2),
        match_id=p.text(0x2BE, 51, "utf-8"),
        game_number=p.number(0x2F1, "I"),
        timer_s=p.known(0x15, "I"),
        seed=p.known(0x13D, "I"),
    )


def _player(p: _Payload, port: int, metadata: Metadata, *, is_teams: bool) -> Player:
    block = 0x24 * port
    kind = p.known(0x66 + block, "B")
    return Player(
        port=port,
        character=p.known(0x65 + block, "B"),
        kind=_KINDS.get(kind, f"other_{kind}"),
        stocks=p.known(0x67 + block, "B"),
        team=p.known(0x6E + block, "B") if is_teams else None,
        costume=p.known(0x68 + block, "B"),
        tag=p.text(0x161 + 0x10 * port, 16, "shift_jis"),
        name=p.text(0x1A5 + 0x1F * port, 31, "shift_jis") or metadata.names[port],
        code=p.text(0x221 + 0xA * port, 10, "shift_jis") or metadata.codes[port],
    )


def read_game_end(event: bytes | None) -> GameEnd:
    """Read the event (command byte included); None for a stream without one."""
    if event is None:
        return GameEnd("none")
    p = _Payload(event)
    method = p.number(0x1, "B")
    quitter = p.number(0x2, "b")
    places = [p.number(0x3 + port, "b") for port in range(NUM_PORTS)]
    return GameEnd(
        method=_END_METHODS.get(-1 if method is None else method, f"other_{method}"),
        quitter=None if quitter is None or quitter < 0 else quitter,
        placements=None if None in places else tuple(place for place in places if place is not None),
    )


def read_metadata(data: bytes, start: int | None) -> Metadata:
    """Read the metadata object at `start`. What is missing or damaged there is empty: no game is lost for it."""
    if start is None:
        return Metadata()
    try:
        value, _ = loads(data, start)
    except UBJsonError:
        return Metadata()
    top = _object(value)
    players = _object(top.get("players"))
    names = [_object(_object(players.get(str(port))).get("names")) for port in range(NUM_PORTS)]
    return Metadata(
        started_at=_string(top.get("startAt")),
        platform=_string(top.get("playedOn")),
        names=tuple(_string(name.get("netplay")) for name in names),
        codes=tuple(_string(name.get("code")) for name in names),
    )


def _object(value: UBJson) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: UBJson) -> str:
    return value if isinstance(value, str) else ""
