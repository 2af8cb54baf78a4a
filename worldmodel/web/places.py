"""The folders that the server shows, and nothing beside them.

Owns: the way from a name in an address to a path, and what a run folder looks like at a glance. Must not: read files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from worldmodel.runs.folder import RunFolder
from worldmodel.web.answers import not_found

MAX_TEXT_BYTES = 1 << 20
"""A config, a card or a status that is larger is none."""

Signature = tuple[tuple[str, int, int], ...]
"""Name, size and time of change (ns) of every file of a run folder: another signature, another content."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A run folder as one listing shows it. id: its name; problem: why its files are not read, or ""."""

    path: Path
    id: str
    signature: Signature
    changed_ns: int
    problem: str

    @property
    def run(self) -> RunFolder:
        """Its files. Made when asked for: of a thousand runs that did not change nobody asks."""
        return RunFolder(self.path)


class Runs:
    """A folder of run folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def find(self, name: str) -> Glance:
        """A run by its name. Raises Refused for what is none, or leads out of the folder."""
        if not name or name in (".", "..") or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise not_found("no such run")
        path = self.root / name
        if not path.is_dir() or not self.is_inside(path):
            raise not_found(f"no run {name[:80]!r} here")
        glance = self._glance(path)
        if glance is None:
            raise not_found(f"no run {name[:80]!r} here")
        return glance

    def all(self) -> list[Glance]:
        """Every run folder, the last changed first. What cannot be listed is not there."""
        found = []
        try:
            with os.scandir(self.root) as entries:
                names = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except OSError:
            return []
        for entry in names:
            path = self.root / entry.name
            if entry.is_symlink() and not self.is_inside(path):
                continue
            glance = self._glance(path)
            if glance is not None:
                found.append(glance)
        return sorted(found, key=lambda glance: (glance.changed_ns, glance.id), reverse=True)

    def is_inside(self, path: Path) -> bool:
        """Whether a path leads to something in the folder, through whatever links."""
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real + os.sep)

    def _glance(self, path: Path) -> Glance | None:
        """None if the folder holds no run, not even a broken one."""
        signature, problem = [], ""
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self.is_inside(Path(entry.path)):
                        problem = f"its {entry.name[:40]} leads out of the folder of runs"
                    about = entry.stat(follow_symlinks=False)
                    signature.append((entry.name, about.st_size, about.st_mtime_ns))
                    if entry.name in _TEXTS and about.st_size > MAX_TEXT_BYTES:
                        problem = f"its {entry.name} has {about.st_size:,} bytes"
        except OSError as error:  # it goes while we look, or may not be read
            return Glance(path, path.name, (), 0, f"it cannot be read ({error.strerror})") if path.is_dir() else None
        names = {name for name, _, _ in signature}
        if not names & _MARKS:
            return None
        changed = max((at for name, _, at in signature if name != "lock"), default=0)
        return Glance(path, path.name, tuple(sorted(signature)), changed, problem)


_NAMES = RunFolder(Path())
_TEXTS = {
    path.name for path in (_NAMES.config, _NAMES.provenance, _NAMES.status, _NAMES.rules, _NAMES.launch, _NAMES.care)
}
_MARKS = {path.name for path in (_NAMES.provenance, _NAMES.launch, _NAMES.metrics, _NAMES.events, _NAMES.config)}
"""A folder with one of these is a run, or what is left of one."""


def text_of(path: Path, root: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> str | None:
    """A text file under a root; None if it is not there, is too large, or leads out. Raises OSError."""
    if not path.is_file() or not os.path.realpath(path).startswith(os.path.realpath(root) + os.sep):
        return None
    if path.stat().st_size > max_bytes:
        return None
    return path.read_text(encoding="utf-8", errors="replace")
