"""The pages' pure modules, run in the browser: time, what the game hears, numbers as text, noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from play_pages import Exported, clip_of_stretch, opened, ready, stretch

from worldmodel.clips.files import read_clip, write_clip
from worldmodel.melee.pad import BUTTONS

pytestmark = pytest.mark.slow

CLOCK = """async ([every_ms, seconds, sleeps]) => {
  const { Clock } = await import("./play/clock.js");
  const clock = new Clock();
  let now = 1000, made = 0;
  const counts = [];
  clock.start(now);
  for (let k = 0; now < 1000 + seconds * 1000; k += 1) {
    now += every_ms + (k === 100 ? sleeps : 0);
    const due = clock.due(now);
    counts.push(due);
    made += due;
  }
  const how = (n) => counts.filter((count) => count === n).length;
  const most = Math.max(...counts);
  return { made, most, twos: how(2), zeros: how(0), forgotten: clock.forgotten, passed: now - 1000 };
}"""


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Any:
    with opened(browser, address + "#/play") as shown:
        ready(shown)
        yield shown


@pytest.mark.parametrize("every_ms", [1000 / 60, 1000 / 144, 1000 / 30, 16.6, 17.1])
def test_sixty_frames_a_second_on_any_screen(page: Any, every_ms: float) -> None:
    """Ten minutes of a screen's frames: none is lost, none too many, to the end."""
    told = page.evaluate(CLOCK, [every_ms, 600, 0])
    assert abs(told["made"] - told["passed"] * 60 / 1000) <= 1
    assert told["forgotten"] == 0
    assert told["most"] <= 2


def test_a_screen_of_sixty_has_one_frame_each_time(page: Any) -> None:
    told = page.evaluate(CLOCK, [1000 / 60, 60, 0])
    assert (told["twos"], told["zeros"]) == (0, 0)


def test_a_tab_that_slept_loses_the_time(page: Any) -> None:
    told = page.evaluate(CLOCK, [1000 / 60, 20, 3_600_000])
    assert told["most"] == 1, "it does not run after what was missed"
    assert told["forgotten"] == pytest.approx(3_600_000 * 60 / 1000, abs=2)


HEARD = """async ([codec, pads]) => {
  const { Codec } = await import("./play/codec.js");
  const made = new Codec(codec);
  return pads.map((pad) => made.heard(pad));
}"""


def test_the_game_hears_what_it_would_hear(page: Any, playable: Exported) -> None:
    codec = json.loads((playable.path / "codec.json").read_text())

    def pad(x: float = 0, y: float = 0, trigger: float = 0, buttons: int = 0) -> dict[str, float]:
        return {"x": x, "y": y, "cx": 0, "cy": 0, "trigger": trigger, "buttons": buttons}

    given = [pad(1, 1), pad(0.27, 0), pad(0.29, -1), pad(trigger=0.3), pad(trigger=0.5), pad(buttons=BUTTONS["z"])]
    given += [pad(buttons=BUTTONS["r"]), pad(np.float32(41 / 80).item(), 0)]
    corner, dead, lower, soft, half, grab, shield, grid = page.evaluate(HEARD, [codec, given])
    names = [row["roles"][0] for row in codec["pad"]["numbers"]]
    x, y, trigger = names.index("stick_x"), names.index("stick_y"), names.index("trigger")
    assert corner["axes"][x] == pytest.approx(56 / 80)
    assert dead["axes"][x] == 0
    assert lower["axes"][x] == 0, "0.29 of a stick inside the circle is in the dead zone"
    assert lower["axes"][y] == pytest.approx(-76 / 80)
    assert soft["axes"][trigger] == 0
    assert half["axes"][trigger] == 0.5
    assert grab["axes"][trigger] == pytest.approx(0.35)
    assert grab["buttons"] == BUTTONS["z"] | BUTTONS["a"]
    assert shield["axes"][trigger] == 1
    assert np.float32(grid["axes"][x]) == np.float32(41 / 80), "what is on the grid stays"


TEXT = """async (text) => {
  const { clipText, parseClip, part, shortest } = await import("./stage/clip.js");
  const clip = parseClip(text);
  const numbers = [-0, 1e-45, 3.4028234663852886e38, 0.1, 16777217, -1.17549435e-38, 7];
  return { same: clipText(clip), part: clipText(part(clip, 10, 30)), numbers: numbers.map(shortest) };
}"""


def test_a_clip_is_written_as_it_is_read(page: Any, tmp_path: Path) -> None:
    clip = clip_of_stretch(stretch(60), wrong_from=20)
    write_clip(clip, tmp_path / "clip.json")
    told = page.evaluate(TEXT, (tmp_path / "clip.json").read_text())
    for name in ("same", "part"):
        (tmp_path / f"{name}.json").write_text(told[name])
    assert read_clip(tmp_path / "same.json").equals(clip)
    some = read_clip(tmp_path / "part.json")
    assert some.frames.equals(clip.frames[10:30])
    assert clip.truth is not None
    assert some.truth is not None
    assert some.truth.equals(clip.truth[10:30])
    for text, value in zip(
        told["numbers"], [-0.0, 1e-45, 3.4028234663852886e38, 0.1, 16777217, -1.17549435e-38, 7], strict=True
    ):
        assert np.float32(text).tobytes() == np.float32(value).tobytes()


NOISE = """async () => {
  const { fillNoise, generator } = await import("./play/noise.js");
  const draw = (name, seed) => {
    const made = new Float32Array(20000);
    fillNoise(name, made, 1, generator(seed, 7));
    return made;
  };
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const cold = new Float32Array(3).fill(5);
  fillNoise("noise_flags", cold, 0, generator(1, 1));
  return {
    gumbel: mean(draw("noise_categories", 1)), logistic: mean(draw("noise_flags", 1)),
    again: mean(draw("noise_flags", 1)), other: mean(draw("noise_flags", 2)),
    cold: [...cold], finite: draw("noise_gates", 3).every(Number.isFinite),
  };
}"""


def test_noise_is_what_the_export_asks_for(page: Any) -> None:
    told = page.evaluate(NOISE)
    assert told["gumbel"] == pytest.approx(0.5772, abs=0.03)
    assert told["logistic"] == pytest.approx(0, abs=0.04)
    assert told["again"] == told["logistic"] != told["other"]
    assert told["cold"] == [0, 0, 0]
    assert told["finite"]
