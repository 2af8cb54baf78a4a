"""The picture of README: how a dream drifts, as the report of an evaluation shows it.

    python benchmarks/drift_picture.py RUN/report docs/images/drift.png

Needs a Chromium, playwright and Pillow. The same report gives the same picture.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

HEADING = "How a dream drifts"
COLOURS = 96
"""As many as thin lines on white need."""


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("report", type=Path)
    made.add_argument("picture", type=Path)
    given = made.parse_args()
    browser = os.environ.get("WORLDMODEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium on this machine")
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = opened.new_page(color_scheme="light", viewport={"width": 1000, "height": 900})
        page.goto((given.report / "index.html").resolve().as_uri())
        shot = page.locator("section", has=page.get_by_role("heading", name=HEADING)).first.screenshot()
        opened.close()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(given.picture, optimize=True)
    print(f"{given.picture}: {given.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
