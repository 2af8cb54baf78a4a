"""The dataset: `/api/data`, `/api/games`, `/api/games/ID/clip`.

Owns: coverage, finding a game, the frames of one. Must not: read every frame (`dataset.stats` does that).

    GET /api/data             {name, content_hash, num_games, num_frames, coverage: {stage, character, version, split,
                               end_method, month}: [{value, num_games}]}; {name: null} without a dataset
    GET /api/games            ?character=&stage=&version=&split=&q=&page=&sort=: {num_games, page, num_pages, games}
                               q: words that all stand in the name, the id, the players, the characters or the stage
    GET /api/games/ID/clip    ?start=ROW&frames=N: true frames as a clip (docs/clips.md), kind "replay"; start counts
                               from the first frame of the match; ID: the game's id or number
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from worldmodel.clips.clip import Clip, Meta
from worldmodel.clips.files import clip_json
from worldmodel.dataset.store import Dataset, open_dataset
from worldmodel.schema import PLAYERS
from worldmodel.web.answers import Refused, answer, encode, not_found, whole

PAGE = 50
MAX_CLIP_FRAMES = 36_000
"""Ten minutes: more than a match is long."""
NUM_FRAMES = 1_800
MAX_QUERY = 200
WARM_AFTER_S = 1.5
SORTS = ("number", "longest", "newest")


class DataApi:
    """The addresses of one dataset; without one they say so."""

    def __init__(self, path: Path | None, *, warm: bool = False) -> None:
        self._table = None if path is None else Table(open_dataset(path))
        self._is_cold = warm

    @property
    def dataset(self) -> Dataset:
        """The dataset. Raises Refused if the server was given none."""
        return self.table.dataset

    @property
    def table(self) -> Table:
        """Its games. Raises Refused if the server was given none."""
        if self._table is None:
            raise Refused(404, "no dataset was given: worldmodel ui --data DATASET")
        return self._table

    def about(self, request: Request) -> Response:
        """/api/data"""
        return answer(request, encode({"name": None} if self._table is None else self._table.about))

    def games(self, request: Request) -> Response:
        """/api/games"""
        query = request.query_params
        table = self.table
        if self._is_cold:
            # Who looks for a game is about to open it. The list comes first; then torch is loaded, which takes seconds.
            self._is_cold = False
            timer = threading.Timer(WARM_AFTER_S, importlib.import_module, ["worldmodel.web.dreaming"])
            timer.daemon = True
            timer.start()
        rows = np.arange(table.dataset.num_games)
        for name in ("character", "stage", "version", "split"):
            if wanted := query.get(name):
                rows = rows[np.isin(rows, table.where(name, wanted[:MAX_QUERY]))]
        for word in query.get("q", "")[:MAX_QUERY].lower().split():
            rows = rows[[word in table.text[row] for row in rows]]
        sort = query.get("sort", SORTS[0])
        if sort not in SORTS:
            raise Refused(400, f"sort={sort[:40]}, expected one of {', '.join(SORTS)}")
        rows = table.sorted(rows, sort)
        num_pages = max(1, -(-len(rows) // PAGE))
        page = whole(request, "page", low=1, high=1_000_000, default=1)
        shown = rows[(page - 1) * PAGE : page * PAGE]
        found = [table.row(int(number)) for number in shown]
        return answer(request, encode({"num_games": len(rows), "page": page, "num_pages": num_pages, "games": found}))

    def clip(self, request: Request) -> Response:
        """/api/games/ID/clip"""
        recording = self.recording(request.path_params["id"])
        start = whole(request, "start", low=0, high=10_000_000, default=0)
        num_frames = whole(request, "frames", low=1, high=MAX_CLIP_FRAMES, default=NUM_FRAMES)
        if start >= len(recording):
            raise Refused(400, f"start={start}, and the game has {len(recording):,} frames")
        clip = Clip(
            stage=recording.stage,
            characters=recording.characters,
            first_frame=recording.first_frame + start,
            frames=recording.frames[start : start + num_frames],
            meta=Meta(kind="replay", content_hash=recording.content_hash, source=recording.name),
        )
        return answer(request, clip_json(clip))

    def recording(self, game: str) -> Any:
        """A game with its columns (a `Recording`). Raises Refused."""
        from worldmodel.dynamics.recording import of_game

        number = self.table.number(game)
        with self.table.lock:  # a shard is mapped and compared with its checksum on first use
            return of_game(self.dataset, number)


@dataclass
class Table:
    """The games of a dataset, as they are asked for."""

    dataset: Dataset

    def __post_init__(self) -> None:
        self.lock = threading.Lock()

    @cached_property
    def about(self) -> dict[str, Any]:
        """For /api/data."""
        table = self.dataset.games

        def counted(*names: str) -> list[dict[str, Any]]:
            counts = Counter(str(value) for name in names for value in table[name].to_pylist())
            return [{"value": value, "num_games": num} for value, num in counts.most_common()]

        months = Counter((value or "")[:7] or "unknown" for value in table["started_at"].to_pylist())
        return {
            "name": self.dataset.path.resolve().name,
            "content_hash": self.dataset.content_hash,
            "num_games": self.dataset.num_games,
            "num_frames": self.dataset.num_frames,
            "num_files": self.dataset.files.num_rows,
            "outcomes": dict(Counter(self.dataset.files["outcome"].to_pylist()).most_common()),
            "coverage": {
                "character": counted(*(f"{player}_character_name" for player in PLAYERS)),
                "stage": counted("stage_name"),
                "version": sorted(counted("version"), key=lambda row: _version(row["value"]), reverse=True),
                "split": counted("split"),
                "end_method": counted("end_method"),
                "month": [{"value": month, "num_games": num} for month, num in sorted(months.items())],
            },
        }

    @cached_property
    def text(self) -> list[str]:
        """What is searched of each game."""
        names = ["name", "game_id", "stage_name", "started_at"]
        names += [f"{player}_{part}" for player in PLAYERS for part in ("player", "character_name")]
        columns = [self.dataset.games[name].to_pylist() for name in names]
        return [" ".join(str(value or "") for value in row).lower() for row in zip(*columns, strict=True)]

    def where(self, name: str, wanted: str) -> NDArray[np.int64]:
        """Numbers of the games of a character, stage, version or split."""
        columns = {
            "character": [f"{player}_character_name" for player in PLAYERS], "stage": ["stage_name"],
            "version": ["version"], "split": ["split"],
        }[name]  # fmt: skip
        hits = [np.asarray(self.dataset.games[column].to_numpy()).astype(str) == wanted for column in columns]
        return np.flatnonzero(np.any(hits, 0))

    def sorted(self, rows: NDArray[np.int64], sort: str) -> NDArray[np.int64]:
        """Numbers in the order asked for."""
        if sort == "longest":
            return rows[np.argsort(-self.dataset.num_frames_per_game[rows], kind="stable")]
        if sort == "newest":
            days = np.array([value or "" for value in self.dataset.games["started_at"].to_pylist()])
            return rows[np.argsort(days[rows], kind="stable")[::-1]]
        return rows

    def number(self, game: str) -> int:
        """The number of a game by its id, or by itself. Raises Refused."""
        found = self._numbers.get(game)
        if found is None and game.isdecimal() and len(game) < 9 and int(game) < self.dataset.num_games:
            found = int(game)
        if found is None:
            raise not_found(f"no game {game[:40]!r} in this dataset")
        return found

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {one: number for number, one in enumerate(self.dataset.games["game_id"].to_pylist())}

    def row(self, number: int) -> dict[str, Any]:
        """One game of a list."""
        info = self.dataset.game(number).info
        return {
            "number": number,
            "id": info["game_id"],
            "name": str(info["name"]).rpartition("/")[2],
            "stage": info["stage_name"],
            "num_frames": info["num_frames"],
            "version": info["version"],
            "split": info["split"],
            "end_method": info["end_method"],
            "started_at": info["started_at"],
            "players": [
                {
                    "character": info[f"{player}_character_name"],
                    "player": info[f"{player}_player"],
                    "placement": info[f"{player}_placement"],
                }
                for player in PLAYERS
            ],
        }


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))
