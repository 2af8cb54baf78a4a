"""Playing in a real browser: by keys, in time, as `dynamics` would have it; back, saved, and without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from play_pages import Exported, opened, ready, served, until

from worldmodel.clips.clip import Clip
from worldmodel.clips.files import read_clip
from worldmodel.dynamics.record import tensors_of
from worldmodel.dynamics.rollout import own_and_count
from worldmodel.dynamics.world import World
from worldmodel.models.base import WorldModel
from worldmodel.nn.frames import Pads

pytestmark = pytest.mark.slow

KEYS = [
    ("KeyD", 400),
    ("Space", 120),
    ("KeyJ", 90),
    ("KeyA", 500),
    ("KeyK", 130),
    ("KeyL", 300),
    ("KeyW", 150),
    ("KeyH", 80),
]
MATCH = "#/play?begin=entry&seed=3&c0=2&c1=9&stage=31"
NEAR = 1e-3
"""Logits of two codes that are so close are all but equally likely."""
APART = 1e-3
"""Of a number's unit: what one step may differ by."""


def frames_of_page(page: Any) -> int:
    return int(page.get_attribute("input.line", "max"))


def at_frame(page: Any, frame: int) -> None:
    until(page, lambda: frames_of_page(page) == frame)


def saved_clip(page: Any, tmp_path: Path) -> Clip:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save clip").click()
    download.value.save_as(tmp_path / "played.json")
    return read_clip(tmp_path / "played.json")


def play(page: Any, frames: int) -> None:
    """Press keys until so many frames are made."""
    page.keyboard.press("Enter")
    while frames_of_page(page) < frames:
        for key, held_ms in KEYS:
            page.keyboard.down(key)
            page.wait_for_timeout(held_ms)
            page.keyboard.up(key)


@torch.no_grad()
def follow(model: WorldModel, clip: Clip) -> int:
    """Frames of a clip that are not what `dynamics` makes of the frame before; asserts that each was a near tie.

    Each frame is made from the page's own frame before it. In a loop of its own frames the last digits of hundreds of
    steps would add up, until somebody is on this side of a blast line and on the other in the browser.
    """
    made, pads, _ = tensors_of(clip.frames, clip.stage)
    world = World(model)
    moment = world.fresh([clip.stage], [clip.characters])
    ties = 0
    for t in range(len(clip)):
        held = Pads(pads.numbers[:, t], pads.buttons[:, t])
        said = model.step(moment.state, held, moment.context, own_and_count(moment.carried)[0])[0]
        moment = world.step(moment, held)
        there = made[:, t]
        own, moment = moment.state, replace(moment, state=there)
        is_other = (own.categories != there.categories).any() or (own.flags != there.flags).any()
        if is_other or ((own.numbers - there.numbers).abs() > APART).any():
            assert is_near_a_tie(said), f"frame {t}: other values, and nothing was all but equally likely"
            ties += 1
    return ties


def is_near_a_tie(said: Any) -> bool:
    codes = [logits.topk(2, -1).values for logits in said.split_categories()]
    gaps = [float((two[..., 0] - two[..., 1]).min()) for two in codes] + [float(said.flags.abs().min())]
    return min(gaps + ([] if said.gates is None else [float(said.gates.abs().min())])) < NEAR


def test_six_hundred_frames_by_keys(browser: Any, address: str, playable: Exported, tmp_path: Path) -> None:
    """No word on the console, in time, readable as a clip, and the trace of `dynamics` on the same pads."""
    with opened(browser, address + MATCH) as page:
        ready(page)
        play(page, 600)
        clip = saved_clip(page, tmp_path)
    assert len(clip) >= 600
    assert clip.meta.kind == "what-if"
    assert clip.first_frame == -122
    pressed = clip.frames.columns
    assert len({int(value) for value in pressed["p0.pad.buttons"]}) >= 4, "the keys were heard"
    assert len({float(value) for value in pressed["p0.pad.stick_x"]}) >= 3
    assert follow(playable.model, clip) <= len(clip) // 100


def test_back_again_and_saved_states_are_the_same_match(
    browser: Any,
    address: str,
    playable: Exported,
    tmp_path: Path,
) -> None:
    """A state, other frames, the state again; then back over a bound of what is kept: always the model's own trace."""
    with opened(browser, address + MATCH + "&by0=wanderer&by1=wanderer") as page:
        ready(page)
        page.evaluate("document.querySelector('.said .button').click()")
        until(page, lambda: frames_of_page(page) > 70)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Save state").click()
        page.wait_for_selector("text=saved")
        at = frames_of_page(page)
        for _ in range(3):
            page.get_by_role("button", name="Step").click()
        at_frame(page, at + 3)
        page.get_by_role("button", name="Load state").click()
        at_frame(page, at)
        page.evaluate(
            "const line = document.querySelector('input.line'); line.value = 41;"
            "for (const kind of ['input', 'change']) line.dispatchEvent(new Event(kind))"
        )
        at_frame(page, 41)
        for n in range(42, 60):
            page.get_by_role("button", name="Step").click()
            at_frame(page, n)
        clip = saved_clip(page, tmp_path)
    assert len(clip) == 59
    assert follow(playable.model, clip) == 0


def test_draws_need_a_temperature_and_can_be_made_again(browser: Any, address: str, tmp_path: Path) -> None:
    def played(temperature: str) -> list[int]:
        with opened(browser, f"{address}#/play?seed=4&t={temperature}&by0=nobody&by1=nobody") as page:
            ready(page)
            for n in range(1, 31):
                page.get_by_role("button", name="Step").click()
                at_frame(page, n)
            return [int(value) for value in saved_clip(page, tmp_path).frames.columns["p0.action_state"]]

    warm = played("1")
    assert warm == played("1")
    assert warm != played("0")


def test_a_key_can_be_bound_anew(browser: Any, address: str) -> None:
    with opened(browser, address + "#/play") as page:
        ready(page)
        page.get_by_role("button", name="Attack (A), keyboard: J").click()
        page.keyboard.press("KeyG")
        page.get_by_role("button", name="Attack (A), keyboard: G").wait_for()
        page.reload()
        ready(page)
        assert page.get_by_role("button", name="Attack (A), keyboard: G").count() == 1
        page.get_by_role("button", name="As delivered").click()
        assert page.get_by_role("button", name="Attack (A), keyboard: J").count() == 1


def test_a_replays_pads_hold_a_player(browser: Any, address: str, tmp_path: Path) -> None:
    with opened(browser, address + "#/play?seed=4&by0=wanderer") as page:
        ready(page)
        for n in range(1, 41):
            page.get_by_role("button", name="Step").click()
            at_frame(page, n)
        first = saved_clip(page, tmp_path)
        with page.expect_file_chooser() as chooser:
            page.select_option("select >> nth=3", "replay")
        chooser.value.set_files(tmp_path / "played.json")
        at_frame(page, 0)
        for n in range(1, 31):
            page.get_by_role("button", name="Step").click()
            at_frame(page, n)
        second = saved_clip(page, tmp_path)
    pads = [name for name in first.frames.columns if name.startswith("p0.pad.")]
    assert pads
    for name in pads:
        assert second.frames.columns[name].tolist() == first.frames.columns[name][:30].tolist()


def test_it_opens_without_a_network(browser: Any, page_site: Path) -> None:
    with served(page_site) as server, opened(browser, server.url) as page:
        ready(page)
        page.evaluate("navigator.serviceWorker.ready.then((found) => found.active.state)")
        until(page, lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
        server.shutdown()
        server.server_close()
        page.context.set_offline(True)
        page.reload()
        ready(page)
        page.goto(server.url + "#/view")
        page.get_by_text("Nothing is open").wait_for()


def test_a_missing_model_is_told(browser: Any, page_site: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(page_site, tmp_path / "site")
    codec = json.loads((tmp_path / "site" / "model" / "codec.json").read_text())
    (tmp_path / "site" / "model" / codec["files"]["float32"]["file"]).write_bytes(b"no graph")
    with served(tmp_path / "site") as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.get_by_role("alert").wait_for(timeout=60_000)
        assert page.locator(".said .button").count() == 0
        context.close()
