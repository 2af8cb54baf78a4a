"""The register of a dataset under construction: every input file in its order, and what becomes of it.

Owns: what only the sequence of files can tell (known, duplicate, a new game), the counts of a run, when to commit. Must
not: read replays, or lay out frames.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from worldmodel.dataset.games import salted, split_of
from worldmodel.dataset.manifest import Manifest
from worldmodel.dataset.writer import NewGame, Writer
from worldmodel.schema import PLAYERS

COMMIT_EVERY_S = 60.0
COMMIT_SHARE = 0.05
"""A closed shard is committed at once, unless commits would take more than this part of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What one run did. `known`: files already on record from before; not counted anywhere else."""

    accepted: int
    rejected: dict[str, int]
    duplicates: int
    known: int
    frames: int
    seconds: float
    interrupted: bool
    num_games: int
    num_frames: int
    bytes_per_frame: float
    content_hash: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a file, as far as can be said without the others. `game` if it passed.

    group_key: of the match, unsalted; "" if the game's row was sealed before (see `Register`). is_duplicate: of another
    file that was entered before it, by its `reason`.
    """

    sha256: str
    reason: str = ""
    detail: str = ""
    game: NewGame | None = None
    group_key: str = ""
    is_duplicate: bool = False


class Register:
    """Enters files into a dataset under construction, and counts them.

    A game's row is sealed when it is entered: players and matches become hashes with the dataset's salt.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._seen_files = writer.seen_files()
        self._seen_matches = writer.seen_matches()
        self._this_run: set[str] = set()
        self.records = frozenset(sha256 for sha256, _ in self._seen_files if sha256)
        self._accepted = self._duplicates = self._known = 0
        self._rejected: Counter[str] = Counter()
        self.frames = 0
        """Of the games that were accepted so far."""

    def enter(self, name: str, seen: Seen) -> bool:
        """Count the file of a name and add its game, if it is one. True if a shard was closed."""
        again = seen.sha256 in self._this_run
        on_record = (seen.sha256, name) in self._seen_files
        if seen.sha256:
            self._this_run.add(seen.sha256)
            if on_record or (not again and seen.sha256 in self.records):
                self._known += 1
                return False
            if again:
                return self._duplicate(name, seen, "same_bytes")
        if seen.is_duplicate:
            return self._duplicate(name, seen, seen.reason)
        if seen.game is None:
            self._rejected[seen.reason] += 1
            return self._record(name, seen, "rejected", seen.reason, seen.detail)
        row = seen.game.row
        if seen.group_key:
            self._seal(row, seen.group_key)
        if row["match_fingerprint"] in self._seen_matches:
            return self._duplicate(name, seen, "same_match")
        self._seen_matches.add(row["match_fingerprint"])
        self._accepted += 1
        self.frames += row["num_frames"]
        self._record(name, seen, "accepted")
        return self._writer.add_game(seen.game)

    def report(self, manifest: Manifest, seconds: float, *, interrupted: bool = False) -> IngestReport:
        """What was entered, and what the dataset holds now."""
        frame_bytes = sum(shard.file.num_bytes for shard in manifest.shards)
        return IngestReport(
            accepted=self._accepted,
            rejected=dict(sorted(self._rejected.items())),
            duplicates=self._duplicates,
            known=self._known,
            frames=self.frames,
            seconds=seconds,
            interrupted=interrupted,
            num_games=manifest.num_games,
            num_frames=manifest.num_frames,
            bytes_per_frame=frame_bytes / manifest.num_frames if manifest.num_frames else 0.0,
            content_hash=manifest.content_hash,
        )

    def _seal(self, row: dict[str, Any], group_key: str) -> None:
        salt = self._writer.salt
        row["match_fingerprint"] = salted(row["match_fingerprint"], salt)
        row["match_group"] = salted(group_key, salt)
        row["split"] = split_of(group_key)
        if not self._writer.settings.keep_names:
            for player in PLAYERS:
                name = row[f"{player}_player"]
                row[f"{player}_player"] = name and salted(name, salt)

    def _duplicate(self, name: str, seen: Seen, reason: str) -> bool:
        self._duplicates += 1
        return self._record(name, seen, "duplicate", reason)

    def _record(self, name: str, seen: Seen, outcome: str, reason: str = "", detail: str = "") -> bool:
        if (seen.sha256, name) not in self._seen_files:
            self._seen_files.add((seen.sha256, name))
            self._writer.add_file(seen.sha256, name, outcome, reason, detail)
        return False


class Pace:
    """When to commit: at closed shards, but within COMMIT_SHARE of the time, and at least every COMMIT_EVERY_S."""

    def __init__(self) -> None:
        self._last, self._cost_s = time.monotonic(), 0.0

    def is_due(self, closed_shard: bool) -> bool:
        since_s = time.monotonic() - self._last
        return since_s > max(COMMIT_EVERY_S, self._cost_s) or (closed_shard and since_s * COMMIT_SHARE > self._cost_s)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around a commit."""
        started = time.monotonic()
        yield
        self._last = time.monotonic()
        self._cost_s = self._last - started
