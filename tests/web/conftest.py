"""One browser for the whole room (there can be one to a process), and the site of one small model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from play_pages import Exported

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str:
    """Path of a browser, or a skip with its reason."""
    pytest.importorskip("playwright", reason="no playwright: pip install 'worldmodel[dev]'")
    found = os.environ.get("WORLDMODEL_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium on this machine")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def playable(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A small model of random weights and its export."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    chromium()  # without one there is nothing to export for
    from play_pages import Exported

    return Exported(tmp_path_factory.mktemp("playable"))


@pytest.fixture(scope="session")
def page_site(playable: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from worldmodel.web import site

    out = tmp_path_factory.mktemp("page-site") / "site"
    site.build(playable.path, out)
    return out


@pytest.fixture(scope="session")
def address(page_site: Path) -> Iterator[str]:
    """Where the site is served."""
    from play_pages import served

    with served(page_site) as server:
        yield server.url
