"""What every room's tests share: the real replays, where they are at hand."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

# Test processes share the cores with each other: one thread each, set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKS = REPOSITORY.parent / "shared" / "replays"


class RealReplays:
    """The packs of real replays. `real_replays / "core"` is a folder with the pack's files, unpacked on first use."""

    def __init__(self, packs: Path) -> None:
        self.packs = packs

    def __truediv__(self, name: str) -> Path:
        pack = self.packs / f"{name}.7z"
        # Kept between test runs (a pack never changes under one size and date), so that only the first one waits.
        stamp = pack.stat()
        target = Path(tempfile.gettempdir()) / f"worldmodel-replays-{name}-{stamp.st_size}-{int(stamp.st_mtime)}"
        if not target.exists():
            import py7zr

            aside = Path(tempfile.mkdtemp(prefix=f"{target.name}-"))
            with py7zr.SevenZipFile(pack) as archive:
                archive.extractall(aside)
            try:
                aside.rename(target)
            except OSError:  # another test process was quicker
                shutil.rmtree(aside)
        return target


@pytest.fixture(scope="session")
def real_replays() -> RealReplays:
    """Real replays of the workshop's packs; skips where they are absent, as in an ordinary user's clone."""
    if not (PACKS / "core.7z").exists():
        pytest.skip(f"no real replays at {PACKS.parent.name}/{PACKS.name} beside the checkout")
    return RealReplays(PACKS)
