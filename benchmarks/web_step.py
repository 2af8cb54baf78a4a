"""A frame of an exported graph in the browser: ONNX Runtime Web, WebAssembly, one thread, in the page's own worker.

Needs a Chromium and playwright. Gives a table, and the same as one line of JSON last.

    python benchmarks/web_step.py EXPORT [EXPORT ...] [--frames 1200]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from common import finish, table

from worldmodel.web import site
from worldmodel.web.play import Served

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

STEPS = """async ([kind, frames, warm]) => {
  const { Engine } = await import("./play/engine.js");
  const { generator } = await import("./play/noise.js");
  const { Codec } = await import("./play/codec.js");
  const engine = new Engine();
  const about = await engine.load({ kind });
  const codec = new Codec(about.told);
  await engine.call("begin", { stage: 31, characters: [2, 20], seed: 1, temperature: 0 });
  const chance = generator(1, 1);
  const axis = () => 2 * chance() - 1;
  const a = () => (chance() < 0.1 ? 256 : 0);
  const pad = () => codec.heard({ x: axis(), y: axis(), cx: 0, cy: 0, trigger: 0, buttons: a() });
  const pads = Array.from({ length: warm + frames }, () => [pad(), pad()]);
  const asked = [];
  await engine.call("run", { pads: pads.slice(0, warm) });
  const inside = (await engine.call("run", { pads: pads.slice(warm) })).ms;
  for (const both of pads.slice(0, Math.min(frames, 300))) {
    const began = performance.now();
    await engine.call("step", { pads: both });
    asked.push(performance.now() - began);
  }
  engine.end();
  return { inside, asked, loaded_ms: about.loaded_ms, kind: about.kind };
}"""
"""inside: in the worker. asked: from the page's message to its answer, rows included."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=1200)
    given = parser.parse_args()
    browser = os.environ.get("WORLDMODEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium on this machine")
    rows = [row for export in given.exports for row in measure(export, given.frames, browser)]
    table(
        ["model", "graph", "bytes", "load s", "median ms", "90 %", "99 %", "worst", "page to page, median ms"],
        [
            [
                row["model"], row["graph"], f"{row['bytes']:,}", f"{row['load_s']:.1f}", f"{row['median_ms']:.2f}",
                f"{row['p90_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['worst_ms']:.1f}", f"{row['page_ms']:.2f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    finish("web_step", {"frames": given.frames, "rows": rows})


def measure(export: Path, frames: int, browser: str) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    codec = site.read_codec(export)
    rows = []
    for kind, file in codec["files"].items():
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
            alone = Path(folder) / "export"
            shutil.copytree(export, alone)
            (alone / site.CODEC).write_text(json.dumps(codec | {"files": {kind: file}}))
            site.build(alone, Path(folder) / "site", offline=False)
            with Served(Path(folder) / "site", 0) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                shown = play.chromium.launch(executable_path=browser, args=list(ARGUMENTS)).new_page()
                shown.goto(server.url + "#/view")
                told = shown.evaluate(STEPS, [kind, frames, 120])
                server.shutdown()
        inside, asked = sorted(told["inside"]), sorted(told["asked"])
        model = codec["model"]
        rows.append(
            {
                "model": f"{model['run'] or model['arch']}, {model['num_parameters']:,}",
                "graph": kind,
                "bytes": file["bytes"],
                "load_s": told["loaded_ms"] / 1000,
                "median_ms": inside[len(inside) // 2],
                "p90_ms": inside[int(0.9 * len(inside))],
                "p99_ms": inside[int(0.99 * len(inside))],
                "worst_ms": inside[-1],
                "page_ms": asked[len(asked) // 2],
            }
        )
    return rows


if __name__ == "__main__":
    main()
