"""How long the local app takes until its first view, on many runs and games; as a browser sees it.

    python benchmarks/ui_start.py --run RUN --data DATASET [--runs 200] [--games 2000] [--rounds 5] [--shots FOLDER]

Folders are made from one real run and one real dataset (`ui_folders.py`). For every case the server is started anew, so
nothing is cached, and the browser too. Counted is from the first request until what the case names is painted
(`first`). `again`: the same page opened once more. `(one picture)`: what this browser on this
machine takes at this time for a page of one small picture, which is the least there is. `--shots`: pictures of each
page, 1280 and 390 pixels wide, light and dark.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import finish, parser, table
from ui_folders import make_games, make_runs

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
VIEWS = {"runs": "#/runs", "data": "#/data"}
READY = "[data-ready=true]"
CASES = {
    "runs: the table": ("#/runs", "tbody tr"),
    "runs: with five curves": ("#/runs", READY),
    "data: with fifty games": ("#/data", READY),
}
"""Address, and what is there when the view is."""
SIZES = {"1280": (1280, 860), "390": (390, 844)}


@contextmanager
def serving(runs: Path, data: Path) -> Iterator[str]:
    """The app in a process of its own; its address."""
    command = [sys.executable, "-m", "worldmodel", "ui", "--runs", str(runs), "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("worldmodel ui: "):
                yield line.split(": ", 1)[1].strip()
                break
        else:
            sys.exit("the app did not start")
    finally:
        process.terminate()
        process.wait()


def first_view_ms(browser: Any, url: str, *, ready: str = READY) -> float:
    """From the request until the view says that it is ready and has been painted, by the page's own clock."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(ready, timeout=60_000, state="attached")
    script = (
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
    )
    took = float(page.evaluate(script))
    context.close()
    return took


def measure(arguments: Any, runs: Path, data: Path) -> dict[str, dict[str, float]]:
    from playwright.sync_api import sync_playwright

    found: dict[str, dict[str, list[float]]] = {}
    with sync_playwright() as play:
        for _ in range(arguments.rounds):
            floor = found.setdefault("(one picture)", {}).setdefault("first", [])
            for view, (path, ready) in CASES.items():
                with serving(runs, data) as url:
                    browser = play.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
                    # The browser's own start is not the app's: it has shown something before.
                    browser.new_page().goto("about:blank")
                    floor.append(first_view_ms(browser, url + "shell/mark.svg", ready="svg"))
                    for case in ("first", "again"):
                        found.setdefault(view, {}).setdefault(case, []).append(
                            first_view_ms(browser, url + path, ready=ready)
                        )
                    browser.close()
                    for name in ("runs", "data", "games"):
                        began = time.perf_counter()
                        with urllib.request.urlopen(f"{url}api/{name}") as response:
                            response.read()
                        took = 1000 * (time.perf_counter() - began)
                        found[view].setdefault(f"api/{name}", []).append(took)
    for cases in found.values():
        cases["first, fastest"] = [
            min(cases["first"])
        ]  # on a machine that others use, nearest to what it would be alone
    return {view: {case: statistics.median(times) for case, times in cases.items()} for view, cases in found.items()}


def shoot(arguments: Any, runs: Path, data: Path) -> None:
    """Pictures of every page."""
    from playwright.sync_api import sync_playwright

    arguments.shots.mkdir(parents=True, exist_ok=True)
    with serving(runs, data) as url, sync_playwright() as play:
        with urllib.request.urlopen(f"{url}api/runs") as response:
            rows = json.load(response)["runs"]
        names = [row["id"] for row in rows]
        done = [name for name in names if (runs / name / "report").is_dir()]
        pages = VIEWS | {"run": f"#/runs/{names[1]}", "compare": f"#/compare/{done[0]},{done[1]}"}
        browser = play.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
        for name, path in pages.items():
            for size, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page.goto(url + path)
                    page.wait_for_selector(READY, timeout=60_000, state="attached")
                    page.wait_for_timeout(200)
                    page.screenshot(path=arguments.shots / f"{name}-{size}-{scheme}.png")
                    page.close()
        browser.close()


def main() -> None:
    arguments = parser(__doc__.partition("\n")[0])
    arguments.add_argument("--run", type=Path, required=True, help="a real run")
    arguments.add_argument("--data", type=Path, required=True, help="a real dataset")
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--games", type=int, default=2000)
    arguments.add_argument("--rows", type=int, default=1500, help="rows of a run's metrics")
    arguments.add_argument("--chromium", default=os.environ.get("WORLDMODEL_CHROMIUM") or shutil.which("chromium"))
    arguments.add_argument("--shots", type=Path, help="write pictures of the pages there")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data.parent) as place:  # beside the data: files are linked, not copied
        runs, data = Path(place) / "runs", Path(place) / "data"
        make_runs(given.run, runs, num=given.runs, num_rows=given.rows)
        make_games(given.data, data, num=given.games)
        if given.shots:
            shoot(given, runs, data)
        found = measure(given, runs, data) if given.rounds else {}
    cases = sorted({case for times in found.values() for case in times})
    table(
        ["page", *(f"{case}, ms" for case in cases)], [[view, *map(times.get, cases)] for view, times in found.items()]
    )
    finish("ui_start", {"num_runs": given.runs, "num_games": given.games, "rounds": given.rounds, "ms": found})


if __name__ == "__main__":
    main()
