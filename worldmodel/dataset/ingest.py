"""Replays in: read, parse, filter, and add to a dataset. It and `spread` alone in this room know of `replays`.

Owns: what becomes of each input file, and the story of an ingest. Must not: lay out frames (that is `writer`).

What is added follows from the input files in their order alone, never from the number of processes or from when a run
was interrupted.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.dataset.manifest import Settings
from worldmodel.dataset.pool import ProcessDied, in_order
from worldmodel.dataset.register import IngestReport, Pace, Register, Seen
from worldmodel.dataset.shard import frames_hash
from worldmodel.dataset.writer import NewGame, require_room, writing
from worldmodel.errors import WrongUse
from worldmodel.melee.characters import external_name
from worldmodel.melee.stages import stage_name
from worldmodel.replays.filters import DEFAULT_FILTERS, MIN_FRAMES, STRUCTURAL, apply_filters, check_names
from worldmodel.replays.identity import match_fingerprint, match_group
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import ParseError, Player, Replay
from worldmodel.schema import LAYOUT, PLAYERS, Scope

if TYPE_CHECKING:
    from worldmodel.replays.source import Source

SHARD_FRAMES = 1 << 18
"""About 34 MB and 30 games a shard. Larger ones save nothing (measured: 130.0 bytes per frame at 2^20, 129.8 here) and
cost memory while a dataset is built."""


def ingest(
    sources: Iterable[Source],
    out: Path,
    *,
    filters: Iterable[str] = DEFAULT_FILTERS,
    min_frames: int = MIN_FRAMES,
    workers: int | None = None,
    keep_names: bool = False,
    shard_frames: int = SHARD_FRAMES,
    progress: Callable[[int, int], None] = lambda num_files, num_frames: None,
) -> IngestReport:
    """Add replays to the dataset in `out`, which is made if there is none; files on record are skipped.

    workers: processes that parse; 1 is this one; default: as many as there are cores but one, since this process
    encodes. progress(files, frames) is called after each file. SIGINT and SIGTERM end the run after the file at hand,
    committed, with `interrupted` in the report.
    Raises WrongUse (nothing to read; `out` is no dataset, in use, or was built with other settings), WorldModelError
    (disk full). Whatever happens, `out` holds the last commit, and a second run completes it.
    """
    started = time.monotonic()
    workers = workers or max(1, (os.cpu_count() or 1) - 1)
    rules = tuple(sorted(check_names(filters) | STRUCTURAL))
    settings = Settings(rules, min_frames, keep_names, shard_frames)
    require_room(out)
    sources = iter(sources)
    first = next(sources, None)
    if first is None:
        raise WrongUse(
            "no replay found", "at least one .slp file", "give folders, .slp files or archives that hold some"
        )
    sources = chain([first], sources)
    with writing(out, settings, encoders=min(4, os.cpu_count() or 1)) as writer, _stop_signals() as stop:
        register = Register(writer)
        pace = Pace()
        results = _examined(sources, settings, register.records, workers)
        try:
            for source, seen in results:
                closed = register.enter(source.name, seen)
                progress(1, register.frames)
                if stop.is_set():
                    break
                if pace.is_due(closed):
                    with pace.timed():
                        writer.commit()
        finally:
            results.close()
        manifest = writer.commit()
    return register.report(manifest, time.monotonic() - started, interrupted=stop.is_set())


# ---- one file ----------------------------------------------------------------------------------------------------

_SETTINGS: list[Settings] = []
_RECORDS: list[frozenset[str]] = []


def _start_worker(settings: Settings, records: frozenset[str]) -> None:
    _SETTINGS[:], _RECORDS[:] = [settings], [records]


def _fetch(source: Source) -> tuple[bytes, str] | Seen:
    """Bytes and their hash."""
    try:
        data = source.read()
    except ParseError as error:
        return Seen("", error.reason, error.detail)
    return data, hashlib.sha256(data).hexdigest()


def _examine(source: Source) -> Seen:
    """Everything about a file that needs no knowledge of other files."""
    return _judge(source, _fetch(source))


def _judge(source: Source, fetched: tuple[bytes, str] | Seen) -> Seen:
    if isinstance(fetched, Seen):
        return fetched
    data, sha256 = fetched
    if sha256 in _RECORDS[0]:
        return Seen(sha256)
    try:
        replay = parse_replay(data)
        refused = apply_filters(replay, _SETTINGS[0].filters, min_frames=_SETTINGS[0].min_frames)
    except ParseError as error:
        return Seen(sha256, error.reason, error.detail)
    except Exception as error:  # noqa: BLE001  a parser that trips over a file costs that file, not the run
        return Seen(sha256, "parser_crash", f"{type(error).__name__}: {error}")
    if refused:
        return Seen(sha256, *refused)
    game = NewGame(_row(replay, sha256, source.name), replay.columns, replay.sparse)
    return Seen(sha256, game=game, group_key=match_group(replay))


def _row(replay: Replay, sha256: str, name: str) -> dict[str, Any]:
    """The game's row but for its place; players, fingerprint and group still unsalted."""
    row: dict[str, Any] = {
        "game_id": sha256[:16],
        "sha256": sha256,
        "frames_hash": frames_hash(replay.columns, replay.sparse),
        "name": name,
        "version": ".".join(map(str, replay.version)),
        "stage_name": stage_name(replay.stage),
        "match_fingerprint": match_fingerprint(replay),
    }
    row |= {game_row.name: getattr(replay, game_row.name) for game_row in LAYOUT.rows if game_row.scope is Scope.GAME}
    for attribute in (
        "num_frames", "first_frame_id", "num_rollback_rows", "started_at", "platform", "game_mode", "is_teams",
        "items_on", "is_pal", "is_frozen_stadium", "timer_s", "seed", "num_followers", "game_number", "end_method",
        "quitter",
    ):  # fmt: skip
        row[attribute] = getattr(replay, attribute)
    for key, player in zip(PLAYERS, replay.players, strict=True):
        row |= {f"{key}_{name}": value for name, value in _player(player, replay.placements).items()}
    return row


def _player(player: Player, placements: tuple[int, ...] | None) -> dict[str, Any]:
    return {
        "port": player.port,
        "character": player.character,
        "character_name": external_name(player.character),
        "costume": player.costume,
        "kind": player.kind,
        "stocks": player.stocks,
        "player": player.code or player.name or player.tag or None,
        "placement": placements[player.port] if placements else None,
    }


def _examined(
    sources: Iterable[Source], settings: Settings, records: frozenset[str], workers: int
) -> Generator[tuple[Source, Seen]]:
    if workers > 1:
        given = (settings, records)
        for source, seen in in_order(_examine, sources, workers=workers, start=_start_worker, given=given):
            if isinstance(seen, ProcessDied):
                fetched = _fetch(source)
                sha256 = fetched.sha256 if isinstance(fetched, Seen) else fetched[1]
                seen = Seen(sha256, "parser_crash", "the process that read it died")
            yield source, seen
        return
    # One process: the next file is read and hashed (which needs no interpreter lock) while this one is parsed.
    _start_worker(settings, records)
    with ThreadPoolExecutor(1, "fetch") as fetcher:
        ahead = None
        for source in sources:
            behind, ahead = ahead, (source, fetcher.submit(_fetch, source))
            if behind:
                yield behind[0], _judge(behind[0], behind[1].result())
        if ahead:
            yield ahead[0], _judge(ahead[0], ahead[1].result())


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM while inside (in the main thread; elsewhere nobody sends them to us)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
