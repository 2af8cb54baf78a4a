"""The picture of README and docs/play.md: a match against the sparring partner, keys by script, every frame a model's.

Needs a Chromium, playwright and Pillow. The same arguments give the same picture.

    python benchmarks/play_picture.py EXPORT docs/images/play.webp [--stage 31 --characters 2 20 --seed 3 --dark]
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import shutil
import tempfile
import threading
from pathlib import Path

from worldmodel.web import site
from worldmodel.web.play import Served

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

MATCH = """async ([stage, characters, seed, frames, skip, every, width]) => {
  const { Engine } = await import("./play/engine.js");
  const { Codec } = await import("./play/codec.js");
  const { generator } = await import("./play/noise.js");
  const { heldBy } = await import("./play/opponents.js");
  const { append, newClip, sceneAt } = await import("./stage/clip.js");
  const { Stage } = await import("./stage/stage.js");
  const place = document.body.appendChild(document.createElement("div"));
  place.style.width = `${width}px`;
  const picture = new Stage(place, { most: 2 });
  const engine = new Engine();
  const codec = new Codec((await engine.load()).told);
  const started = await engine.call("begin", { stage, characters, seed, temperature: 0 });
  const clip = newClip({ stage, characters, firstFrame: codec.told.first_frame + 84, meta: { kind: "what-if" } });
  append(clip, started.rows[0]);
  const keys = (n) => {
    const chance = generator(seed, Math.floor(n / 14));
    const [way, press] = [chance(), chance()];
    const chosen = [[0.3, 256], [0.55, 1024], [0.68, 512], [0.76, 32], [1, 0]].find(([share]) => press <= share)[1];
    const buttons = n % 14 > 2 ? 0 : chosen;
    return { x: way < 0.4 ? 1 : way < 0.8 ? -1 : 0, y: 0, cx: 0, cy: 0, trigger: 0, buttons };
  };
  for (let n = 1; n <= skip + frames + 24; n += 1) {
    const scene = sceneAt(clip, clip.columns, n - 1);
    const pads = [keys(n), heldBy("fighter", scene, 1, n, seed)].map((raw) => codec.heard(raw));
    append(clip, (await engine.call("step", { pads })).rows[0]);
  }
  engine.end();
  const pictures = [];
  for (let n = skip; n < skip + frames; n += every) {
    picture.show(clip, n);
    pictures.push(picture.canvas.toDataURL("image/png"));
  }
  return pictures;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path, help=".webp (all colours, small) or .gif")
    parser.add_argument("--stage", type=int, default=31, help="external id")
    parser.add_argument("--characters", type=int, nargs=2, default=[2, 20], help="external ids")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--skip", type=int, default=0, help="frames before the first that is shown")
    parser.add_argument("--every", type=int, default=3, help="every which frame; 3: 20 pictures a second")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--light", action="store_true")
    given = parser.parse_args()
    made = pictures(given)
    from PIL import Image

    shown = [Image.open(io.BytesIO(data)).convert("RGB") for data in made]
    every_ms = round(given.every * 1000 / 60)
    shown[0].save(given.out, save_all=True, append_images=shown[1:], duration=every_ms, loop=0, quality=72, method=6)
    print(f"{given.out}: {len(shown)} pictures, {given.out.stat().st_size:,} bytes")


def pictures(given: argparse.Namespace) -> list[bytes]:
    """PNGs of a match."""
    from playwright.sync_api import sync_playwright

    browser = os.environ.get("WORLDMODEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        site.build(given.export, Path(folder) / "site", offline=False)
        with Served(Path(folder) / "site", 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            opened = play.chromium.launch(executable_path=browser, args=list(ARGUMENTS))
            page = opened.new_page(color_scheme="light" if given.light else "dark")
            page.goto(server.url + "#/view")
            asked = [given.stage, given.characters, given.seed, given.frames, given.skip, given.every, given.width]
            told = page.evaluate(MATCH, asked)
            opened.close()
            server.shutdown()
    return [base64.b64decode(text.partition(",")[2]) for text in told]


if __name__ == "__main__":
    main()
