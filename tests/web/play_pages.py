"""What the tests of the play page and the viewer share: a model, a served folder, a page, a clip."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from small_export import restless

from worldmodel.clips.clip import Clip, Meta
from worldmodel.dynamics.record import clip_of, frames_of
from worldmodel.export import folder
from worldmodel.export.starts import Stretches, synthetic
from worldmodel.models.base import WorldModel, load_model, save_weights
from worldmodel.web.play import Served

LONG_MS = 60_000


class Exported:
    """A small model and its export, which takes noise."""

    def __init__(self, place: Path) -> None:
        save_weights(restless("mamba2", "residual"), place / "weights.safetensors")
        self.model: WorldModel = load_model(place / "weights.safetensors")
        self.path = place / "export"
        options = folder.Options(sampling=True, report=False)
        folder.export(place / "weights.safetensors", self.path, options=options, say=lambda line: None)


@contextmanager
def served(path: Path, port: int = 0) -> Iterator[Served]:
    """A folder, served until the end."""
    with Served(path, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A page of its own; at the end there must have been no word on its console, and no slip in its text."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(LONG_MS)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(url)
        yield page
        assert said == []
        shown = page.inner_text("body")
        assert [slip for slip in ("NaN", "undefined", "[object") if slip in shown] == []
    finally:
        context.close()


def until(page: Any, holds: Callable[[], bool], wait_ms: int = LONG_MS) -> None:
    """Wait for something to hold (the page's policy forbids scripts that are text)."""
    for _ in range(wait_ms // 20):
        if holds():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it never held")


def ready(page: Any) -> None:
    """Wait until a match can begin."""
    page.wait_for_selector(".said .button")


def stretch(frames: int, seed: int = 5) -> Stretches:
    """A stretch of a synthetic match."""
    return synthetic(num=1, rows=frames, seed=seed)


def clip_of_stretch(made: Stretches, wrong_from: int | None = None) -> Clip:
    """A clip of it; with its truth beside it if the frames after `wrong_from` are to be wrong by three units."""
    states, pads, context = made.states[0], made.pads[0], made.context
    if wrong_from is None:
        return clip_of(states, context, Meta(kind="replay", source="synthetic"), first_frame=0, pads=pads)
    truth = frames_of(states, context, pads)
    numbers = states.numbers.clone()
    numbers[wrong_from:, 0, 1] += 3.0
    other = states.map(torch.clone)
    object.__setattr__(other, "numbers", numbers)
    meta = Meta(kind="dream", run="a-run", source="synthetic", pads="true")
    return clip_of(other, context, meta, first_frame=0, pads=pads, truth=truth)
