"""Durable writes: aside, fsync, rename. A reader sees the old file or the new one, never half of either.

Owns: how bytes become permanent. Must not: know what the bytes mean.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse

ASIDE = ".aside-"
"""Prefix of names that are not finished. Whoever lists a folder skips them; whoever finds one may delete it."""


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durably. The old content stays whole if anything fails. Raises OSError."""
    # Of this thread alone: two that write the same file must not write into one another's.
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{threading.get_native_id()}-{path.name}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by UTF-8 text, durably."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented strict JSON (no NaN, no infinity: ValueError), durably."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder aside; on leaving, fsync its files and rename it to `path`, which must not exist or is replaced.

    If the body raises, `path` is untouched and what was aside is gone.
    """
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in sorted(aside.rglob("*")):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        sync_folder(aside)
        if path.exists():
            # A rename cannot replace a folder with something in it: the old one steps aside first.
            old = path.with_name(f"{ASIDE}{os.getpid()}-old-{path.name}")
            path.rename(old)
            aside.rename(path)
            shutil.rmtree(old)
        else:
            aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(path.parent)


def refuse_foreign(folder: Path, *, ours: str, of: str) -> None:
    """Ask before work: `folder` is not there, empty, or one of ours by the file `ours` in it. Raises WrongUse."""
    if folder.is_dir() and ((folder / ours).is_file() or not any(folder.iterdir())):
        return
    if folder.exists():
        raise WrongUse(f"{folder} holds something else", f"a new folder, or {of} of ours", "name another folder")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the system can (Windows cannot open folders)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
