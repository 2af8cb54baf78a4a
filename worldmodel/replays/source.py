"""Where replays come from: folders, files, and archives in any nesting, one replay in memory at a time.

Owns: finding and reading bytes. Must not: parse them; unpack an archive to disk.

What a file is, its first bytes say; its name matters only where they do not. Whatever cannot be read is a `Source`
with a problem, never a traceback.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worldmodel.errors import WrongUse
from worldmodel.replays.archive import (
    ARCHIVE_SUFFIXES,
    HEAD_BYTES,
    MAX_REPLAY_BYTES,
    REPLAY_SUFFIXES,
    Member,
    is_archive,
    members,
)
from worldmodel.replays.replay import ParseError
from worldmodel.replays.wire import ENVELOPE


@dataclass(frozen=True, slots=True)
class Source:
    """One replay, or what stands where one should be.

    name: where it was found, archive and member included. path: the file on disk, if it is one by itself.
    data: the bytes, if they came out of an archive. problem: (reason, detail) if they cannot be had.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    problem: tuple[str, str] | None = None

    def read(self) -> bytes:
        """The bytes. Raises ParseError with the problem's reason if they cannot be had (any more)."""
        if self.problem is not None:
            raise ParseError(*self.problem)
        if self.data is not None:
            return self.data
        assert self.path is not None
        try:
            size = self.path.stat().st_size
            if size > MAX_REPLAY_BYTES:
                raise ParseError("too_large", f"{size} bytes")
            return self.path.read_bytes()
        except OSError as error:
            raise ParseError("unreadable", error.strerror or str(error)) from error


@dataclass(frozen=True, slots=True)
class Spot:
    """A file in which there may be replays.

    name: as its sources will be called. asked_for: it was named itself, so it is tried as a replay whatever it is
    called. problem: why it, or the folder that it stands for, cannot be looked at.
    """

    name: str
    path: Path
    asked_for: bool = False
    problem: str = ""


def iter_sources(
    paths: Iterable[str | os.PathLike[str]], *, on_ignored: Callable[[str], None] | None = None
) -> Iterator[Source]:
    """Every replay under the paths, in an order that depends on names alone (members: their order in the archive).

    paths: folders (searched to the bottom, links followed once), replays, archives.
    on_ignored: called with the name of each file that is neither replay nor archive. A file that is named in `paths`
    is never ignored: it is tried as a replay.

    Raises WrongUse at once for a path that is not there.
    """
    return sources_at(find_spots(paths), on_ignored=on_ignored)


def find_spots(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Spot]:
    """Every file under the paths, in the order of `iter_sources`; none is opened. Raises WrongUse at once for a path
    that is not there."""
    roots = [Path(path) for path in paths]
    for root in roots:
        if not root.exists():
            raise WrongUse(f"no file or folder at {root}", "folders, .slp files or archives", "check the path")
    return _spots(roots)


def sources_at(spots: Iterable[Spot], *, on_ignored: Callable[[str], None] | None = None) -> Iterator[Source]:
    """The replays in some files, in their order."""
    for spot in spots:
        if spot.problem:
            yield Source(spot.name, spot.path, problem=("unreadable", spot.problem))
        else:
            yield from _file(spot.path, spot.name, on_ignored or (lambda name: None), asked_for=spot.asked_for)


def _spots(roots: list[Path]) -> Iterator[Spot]:
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if root.is_dir():
            yield from _folder(root, "", seen)
        else:
            yield Spot(root.name, root, asked_for=True)


def _folder(folder: Path, prefix: str, seen: set[tuple[int, int]]) -> Iterator[Spot]:
    """Files and folders below, sorted; a folder that was seen already (a link in a circle) is left out."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Spot(prefix or folder.name, folder, problem=error.strerror or str(error))
        return
    for entry in entries:
        name = prefix + entry.name
        if _is_folder(entry):
            yield from _folder(Path(entry.path), f"{name}/", seen)
        else:
            yield Spot(name, Path(entry.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that runs in a circle
        return False


def _file(path: Path, name: str, ignore: Callable[[str], None], *, asked_for: bool = False) -> Iterator[Source]:
    """A file on disk: a replay is left there until `read`, an archive is opened."""
    named = asked_for or name.lower().endswith((*REPLAY_SUFFIXES, *ARCHIVE_SUFFIXES))
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            if named:
                yield Source(name, path, problem=("unreadable", "no regular file"))
            else:
                ignore(name)
            return
        file = path.open("rb")
    except OSError as error:
        if named:
            yield Source(name, path, problem=("unreadable", error.strerror or str(error)))
        else:
            ignore(name)
        return
    with file:
        try:
            head = file.read(HEAD_BYTES)
            file.seek(0)
        except OSError as error:
            yield Source(name, path, problem=("unreadable", error.strerror or str(error)))
            return
        if head.startswith(ENVELOPE) or (not is_archive(head, name) and _is_replay_name(name, asked_for=asked_for)):
            yield Source(name, path)
            return
        for member in members(name, file, asked_for=asked_for):
            yield from _member(member, ignore)


def _is_replay_name(name: str, *, asked_for: bool) -> bool:
    lower = name.lower()
    return lower.endswith(REPLAY_SUFFIXES) or (asked_for and not lower.endswith(ARCHIVE_SUFFIXES))


def _member(member: Member, ignore: Callable[[str], None]) -> Iterator[Source]:
    if member.data is None and member.problem is None:
        ignore(member.name)
    else:
        yield Source(member.name, data=member.data, problem=member.problem)
