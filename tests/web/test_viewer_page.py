"""The viewer in a real browser: opening, time by keys, dream and truth, other futures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from play_pages import Exported, clip_of_stretch, opened, stretch, until
from test_play_page import APART, is_near_a_tie

from worldmodel.clips.files import write_clip
from worldmodel.dynamics.rollout import advance_model, burn_in, own_and_count
from worldmodel.nn.frames import Pads

pytestmark = pytest.mark.slow

FRAMES = 240


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dream.json: with a truth, wrong from frame 100; replay.json: without."""
    place = tmp_path_factory.mktemp("viewer-clips")
    made = stretch(FRAMES)
    write_clip(clip_of_stretch(made, wrong_from=100), place / "dream.json")
    write_clip(clip_of_stretch(made), place / "replay.json")
    return place


def open_clip(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a clip").first.click()
    chooser.value.set_files(path)
    page.get_by_role("slider", name="Frame").wait_for()


def frame(page: Any) -> int:
    return int(page.get_by_role("slider", name="Frame").input_value())


def test_time_by_keys(browser: Any, address: str, clips: Path) -> None:
    with opened(browser, address + "#/view") as page:
        open_clip(page, clips / "dream.json")
        for key, expected in [
            ("ArrowRight", 1),
            ("Shift+ArrowRight", 11),
            ("End", FRAMES - 1),
            ("ArrowLeft", FRAMES - 2),
            ("Home", 0),
        ]:
            page.keyboard.press(key)
            assert frame(page) == expected, key
        assert "player 1" in page.locator("canvas.stage").first.get_attribute("aria-label")
        page.keyboard.press("]")
        assert page.get_by_label("Speed").input_value() == "2"
        page.keyboard.press("Space")
        until(page, lambda: frame(page) > 60)
        page.keyboard.press("Space")
        stopped = frame(page)
        page.wait_for_timeout(120)
        assert frame(page) == stopped
        page.keyboard.press("l")
        page.keyboard.press("End")
        page.keyboard.press("Space")
        until(page, lambda: frame(page) < 200)


def test_dream_and_truth_are_told_apart(browser: Any, address: str, clips: Path) -> None:
    with opened(browser, address + "#/view") as page:
        open_clip(page, clips / "dream.json")
        panel = page.get_by_role("region", name="Dream and truth, this frame")
        assert "No field differs" in panel.inner_text()
        for _ in range(10):
            page.keyboard.press("Shift+ArrowRight")
        assert frame(page) == 100
        assert "3.0 units" in panel.inner_text()
        for mode in ("Beside", "Dream", "Truth", "Over"):
            page.locator(".choice label", has_text=mode).click()
        page.locator(".choice label", has_text="Beside").click()
        assert page.locator("canvas.stage >> visible=true").count() == 2


def test_a_dropped_clip_is_opened(browser: Any, address: str, clips: Path) -> None:
    text = (clips / "replay.json").read_text()
    with opened(browser, address + "#/view") as page:
        page.get_by_text("Nothing is open").wait_for()
        data = page.evaluate_handle(
            "(text) => { const data = new DataTransfer(); data.items.add(new File([text], 'c.json')); return data; }",
            text,
        )
        page.dispatch_event(".view", "drop", {"dataTransfer": data})
        page.get_by_role("slider", name="Frame").wait_for()
        assert page.locator(".choice").is_hidden(), "a replay is alone"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"format": "worldmodel-clip", "version": 9}',
        '{"format": "worldmodel-clip", "version": 1, "num_frames": 1e9}',
    ],
)
def test_what_is_no_clip_is_refused_in_a_sentence(browser: Any, address: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with opened(browser, address + "#/view") as page:
        page.get_by_text("Nothing is open").wait_for()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Open a clip").first.click()
        chooser.value.set_files(tmp_path / "other.json")
        page.get_by_role("alert").wait_for()
        assert "no clip" in page.get_by_role("alert").inner_text()


def test_a_clip_of_another_site_is_refused(browser: Any, address: str) -> None:
    with opened(browser, address + "#/view?clip=http://other.invalid/clip.json") as page:
        page.get_by_role("alert").wait_for()
        assert "this site alone" in page.get_by_role("alert").inner_text()


ROWS = """async (text) => {
  const { Engine } = await import("./play/engine.js");
  const { dream } = await import("./viewer/whatif.js");
  const { clipText, parseClip } = await import("./stage/clip.js");
  const engine = new Engine();
  await engine.load();
  const made = await dream(engine, parseClip(text), 60, { frames: 120 });
  engine.end();
  return clipText(made);
}"""


@torch.no_grad()
def test_a_dream_of_the_page_is_that_of_dynamics(
    browser: Any,
    address: str,
    playable: Exported,
    clips: Path,
    tmp_path: Path,
) -> None:
    """Sixty true frames, then the true pads: as `burn_in` and `advance_model` have it."""
    from worldmodel.clips.files import read_clip
    from worldmodel.dynamics.record import tensors_of

    with opened(browser, address + "#/view") as page:
        (tmp_path / "made.json").write_text(page.evaluate(ROWS, (clips / "replay.json").read_text()))
    made = read_clip(tmp_path / "made.json")
    true = read_clip(clips / "replay.json")
    assert (made.meta.kind, made.meta.start_frame, made.meta.history, len(made)) == ("dream", 60, 60, 120)
    assert made.truth is not None
    assert made.truth.equals(true.frames[61:181])
    states, pads, context = tensors_of(true.frames, true.stage)
    page_states, page_pads, _ = tensors_of(made.frames, made.stage)
    assert bool((page_pads.numbers == pads.numbers[:, 61:181]).all())
    carried, state = burn_in(playable.model, states[:, :61], pads[:, :61], context)
    for t in range(120):
        held = Pads(pads.numbers[:, 61 + t], pads.buttons[:, 61 + t])
        said, _ = playable.model.step(state, held, context, own_and_count(carried)[0])
        state, carried = advance_model(playable.model, carried, state, held, context)
        other = bool((state.categories != page_states.categories[:, t]).any())
        if other or bool(((state.numbers - page_states.numbers[:, t]).abs() > APART).any()):
            assert is_near_a_tie(said)
            assert t >= 20
            return


def test_a_pad_is_taken_over_and_both_futures_are_there(browser: Any, address: str, clips: Path) -> None:
    with opened(browser, address + "#/view") as page:
        open_clip(page, clips / "replay.json")
        for _ in range(5):
            page.keyboard.press("Shift+ArrowRight")
        page.get_by_label("Pads").select_option("0")
        page.get_by_label("held by").select_option("guard")
        page.get_by_role("combobox", name="For", exact=True).select_option("120")
        page.get_by_role("button", name="Take over from this frame").click()
        page.locator(".tag", has_text="what if").wait_for()
        assert page.get_by_role("slider", name="Frame").get_attribute("max") == "119"
        page.get_by_role("button", name="Back to the clip before").click()
        assert page.get_by_role("slider", name="Frame").get_attribute("max") == str(FRAMES - 1)
        assert frame(page) == 50
        page.get_by_label("held by").select_option("keyboard:0")
        page.get_by_role("button", name="Take over from this frame").click()
        page.get_by_text("You hold the pad").wait_for()
        page.keyboard.down("KeyD")
        page.wait_for_timeout(700)
        page.keyboard.up("KeyD")
        page.keyboard.press("Escape")
        page.locator(".tag", has_text="what if").wait_for()
