"""Dreams: `POST /api/runs/ID/dream`.

Owns: the address, its queue and its cache. Must not: dream itself (`dreaming`), import torch before somebody asks.

    POST /api/runs/ID/dream ?game= &start=ROW &frames=N &pads=true|POLICY &player=0|1 &temperature= &seed=
         body, for a what-if: {"columns": {pad column of that player: [values from the first dreamed frame on]}}
      -> {clip: as docs/clips.md has it, with its truth,
          errors: [{frames, position, percent, same_action, true_deaths, dreamed_deaths}] at some frames,
          per_frame: {num_frames, position, percent, same_action, differing} (see `dreaming.per_frame`),
          contradictions: [{frame, player, name, what}], notes: [...]}
    start: row of the last true frame shown, counted from the first of the match; the first dreamed one is start + 1.
    player: whose pad the policy or the body holds; without it a policy holds both. At most `MAX_FRAMES` frames.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from worldmodel.web.answers import Refused, answer, whole
from worldmodel.web.api_data import DataApi
from worldmodel.web.places import Runs

MAX_WAITING = 4
MAX_KEPT = 24
MAX_KEPT_BYTES = 128 << 20


class DreamApi:
    """One dream at a time: it takes all cores there are."""

    def __init__(self, runs: Runs, data: DataApi) -> None:
        self._runs, self._data = runs, data
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._models: Any = None
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._lock = threading.Lock()

    async def dream(self, request: Request) -> Response:
        """POST /api/runs/ID/dream"""
        body = await request.body()
        return answer(request, await run_in_threadpool(self._dream, request, body))

    def _dream(self, request: Request, body: bytes) -> bytes:
        if not self._places.acquire(blocking=False):
            raise Refused(503, f"{MAX_WAITING} dreams are waiting already; ask again in a moment")
        try:
            with self._lock:
                return self._dreamt(request, body)
        finally:
            self._places.release()

    def _dreamt(self, request: Request, body: bytes) -> bytes:
        from worldmodel.web import dreaming

        glance = self._runs.find(request.path_params["id"])
        run = glance.run
        if glance.problem:
            raise Refused(409, f"{run.id}: {glance.problem}")
        for checkpoint in run.all_checkpoints():
            if not self._runs.is_inside(checkpoint.weights):
                raise Refused(409, f"{run.id}: its {checkpoint.path.name} leads out of the folder of runs")
        wish = self._wish(request, body)
        recording = self._data.recording(request.query_params.get("game", ""))
        if wish.start >= len(recording):
            raise Refused(400, f"start={wish.start}, and the game has {len(recording):,} frames")
        self._models = self._models or dreaming.Models()
        chosen, history = self._models.of(run)
        key = (run.id, chosen.sha256, recording.name, recording.content_hash, wish)
        if key not in self._kept:
            self._kept[key] = dreaming.dream(chosen, history, recording, wish)
            while len(self._kept) > MAX_KEPT or sum(map(len, self._kept.values())) > MAX_KEPT_BYTES:
                self._kept.popitem(last=False)
                if len(self._kept) == 1:
                    break
        self._kept.move_to_end(key)
        return self._kept[key]

    @staticmethod
    def _wish(request: Request, body: bytes) -> Any:
        from worldmodel.web import dreaming

        query = request.query_params
        taken = dreaming.json_text(body)
        pads = dreaming.checked_policy(query.get("pads") or dreaming.TRUE_PADS)
        player = query.get("player")
        if player not in (None, "", "0", "1"):
            raise Refused(400, f"player={str(player)[:20]}, expected 0 or 1")
        if taken and not player:
            raise Refused(400, "pads without a player; say player=0 or player=1")
        temperature = None
        if text := query.get("temperature"):
            try:
                temperature = float(text)
            except ValueError:
                temperature = -1.0
            if not 0 < temperature <= 10:
                raise Refused(400, f"temperature={text[:20]}, expected more than 0 and at most 10")
        return dreaming.Wish(
            start=whole(request, "start", low=0, high=10_000_000),
            num_frames=whole(request, "frames", low=1, high=dreaming.MAX_FRAMES, default=300),
            pads=pads,
            players=(int(player),) if player else (0, 1),
            temperature=temperature,
            seed=whole(request, "seed", low=0, high=2**31 - 1, default=0),
            taken=taken,
        )
