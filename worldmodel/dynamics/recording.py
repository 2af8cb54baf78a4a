"""True frames to begin from, wherever they lie: a replay, a member of an archive, a game of a dataset, a clip.

Owns: finding one match and its columns. Must not: filter (a replay that ingest would refuse may be looked at), run a
model. Each source becomes a clip's columns, and these become tensors: one way for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.clips.clip import COLUMNS, BadClip, Frames, dtype_of
from worldmodel.clips.files import read_clip
from worldmodel.dataset.manifest import MANIFEST
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.dynamics.record import tensors_of
from worldmodel.errors import WrongUse
from worldmodel.nn.frames import Context, Pads, State
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import ParseError, Replay
from worldmodel.replays.source import iter_sources
from worldmodel.schema import LAYOUT, PLAYERS, column_name
from worldmodel.schema.derived import DERIVED

_CLIP_NAMES = (".json", ".arrow")


@dataclass(frozen=True, slots=True)
class Recording:
    """One match: its columns, and what is constant. characters: external ids, p0 first. split: if a dataset says."""

    frames: Frames
    stage: int
    characters: tuple[int, int]
    first_frame: int
    """Slippi's id of the first frame."""
    name: str
    content_hash: str | None = None
    split: str | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def last_frame(self) -> int:
        """Slippi's id of the last frame."""
        return self.first_frame + len(self) - 1

    def row_of(self, frame_id: int, *, what: str = "frame") -> int:
        """Index of a frame by Slippi's id. Raises WrongUse if the match does not have it."""
        if not self.first_frame <= frame_id <= self.last_frame:
            raise WrongUse(
                f"{what} {frame_id} of {self.name}",
                f"{self.first_frame} to {self.last_frame}, Slippi's frame numbers",
                "choose a frame that the match has",
            )
        return frame_id - self.first_frame

    def tensors(self) -> tuple[State, Pads, Context]:
        """The whole match as a batch of one: (1,T,2,·), (1,T,2,·), (1,·). Raises WrongUse for refused values."""
        try:
            return tensors_of(self.frames, self.stage)
        except ValueError as error:
            raise WrongUse(f"{self.name}: {error}", "a match of the game as it is", "give another replay") from error


def open_recording(where: str) -> Recording:
    """The match at `where`: a .slp file, an archive that holds one replay, `ARCHIVE:MEMBER`, a clip (.json, .arrow),
    or `DATASET:GAME` by the game's number or id. Raises WrongUse.
    """
    path, part = _split(where)
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise WrongUse(f"{path} is a folder and no dataset", "one replay, or DATASET:GAME", "name a file in it")
        return of_game(open_dataset(path), part)
    if part is None and path.suffix.lower() in _CLIP_NAMES:
        return of_clip(path)
    return _of_source(path, part)


def _split(where: str) -> tuple[Path, str | None]:
    """A path, and what follows the last colon if that is not part of the path itself."""
    whole = Path(where)
    head, colon, tail = where.rpartition(":")
    if whole.exists() or not colon or not Path(head).exists():
        return whole, None
    return Path(head), tail


# ---- replays -----------------------------------------------------------------------------------------------------


def _of_source(path: Path, member: str | None) -> Recording:
    found = list(iter_sources([path]))
    if member is not None:
        names = [source.name for source in found]
        found = [source for source in found if source.name.endswith(member)]
        if len(found) != 1:
            few = ", ".join(names[:3])
            raise WrongUse(f"{len(found)} members of {path} end in {member!r}", "one", f"it holds {few} ...")
    if len(found) != 1:
        raise WrongUse(f"{path} holds {len(found)} replays", "one", f"name one: {path}:MEMBER")
    try:
        replay = parse_replay(found[0].read())
    except ParseError as error:
        raise WrongUse(
            f"{found[0].name} ({error.reason}: {error.detail})", "a replay that can be read", "give another"
        ) from error
    return of_replay(replay, found[0].name)


def of_replay(replay: Replay, name: str) -> Recording:
    """A parsed replay of two players. Raises WrongUse for any other."""
    if len(replay.players) != len(PLAYERS) or not replay.columns:
        raise WrongUse(f"{name} has {len(replay.players)} players", "two", "give a replay of two players")
    return Recording(
        _frames(replay.columns.get, name),
        replay.stage,
        (replay.players[0].character, replay.players[1].character),
        replay.first_frame_id,
        name,
    )


# ---- datasets and clips ------------------------------------------------------------------------------------------


def of_game(dataset: Dataset, game: str | int | None) -> Recording:
    """A game of a dataset, by number or id. Raises WrongUse if there is no such game."""
    ids = dataset.games["game_id"].to_pylist()
    numbers = {one: number for number, one in enumerate(ids)} | {str(number): number for number in range(len(ids))}
    number = numbers.get(str(game))
    if number is None:
        raise WrongUse(
            f"game {game!r} of {dataset.path}", f"a number below {len(ids)}, or a game id", "write DATASET:GAME"
        )
    dataset.checked_shard(int(dataset.shard_of_game[number]))
    one, info = dataset.game(number), dataset.game(number).info
    name = f"{dataset.path.name}:{info['game_id']}"
    return Recording(
        _frames(lambda column: one[column] if one.present(column) else None, name),
        int(info[LAYOUT.the("stage").name]),
        (int(info[f"{PLAYERS[0]}_character"]), int(info[f"{PLAYERS[1]}_character"])),
        int(info["first_frame_id"]),
        name,
        dataset.content_hash,
        str(info["split"]),
    )


def of_clip(path: Path) -> Recording:
    """The frames of a clip, dreamed or true. Raises WrongUse."""
    clip = read_clip(path)
    return Recording(clip.frames, clip.stage, clip.characters, clip.first_frame, path.name)


def _frames(stored: Callable[[str], NDArray[Any] | None], name: str) -> Frames:
    """A clip's columns from stored ones, derived ones computed."""
    columns: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        values = stored(column.name)
        if values is None and column.field.derive is not None:
            function, needs = DERIVED[column.field.derive]
            parts = {need: stored(column_name(LAYOUT.by_name[need], column.player)) for need in needs}
            if all(part is not None for part in parts.values()):
                values = function(parts.__getitem__)  # type: ignore[arg-type]
        if values is not None:
            columns[column.name] = np.ascontiguousarray(values).astype(dtype_of(column), copy=False)
    try:
        return Frames(columns)
    except BadClip as error:
        raise WrongUse(f"{name}: {error}", "frames of finite numbers", "give another replay") from error
