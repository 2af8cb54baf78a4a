"""Replays out of archives, read as streams: gzip, bzip2, xz, tar, zip, 7z, each inside of any other.

Owns: formats of archives, and the bounds that keep a hostile one harmless. Must not: write a member to the user's disk.

Memory is bounded by one replay, one decompressor and, for an archive inside an archive that must be read out of order
(zip, 7z), a temporary file beyond `SPOOL_BYTES`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import queue
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from worldmodel.replays.replay import ParseError
from worldmodel.replays.wire import ENVELOPE, open_envelope

REPLAY_SUFFIXES = (".slp", ".zlp")
ARCHIVE_SUFFIXES = (".gz", ".bz2", ".xz", ".tar", ".tgz", ".tbz2", ".txz", ".zip", ".7z")

HEAD_BYTES = 512
MAX_REPLAY_BYTES = 256 << 20
MAX_NESTED_BYTES = 4 << 30
MAX_DEPTH = 6
SPOOL_BYTES = 16 << 20
_CHUNK = 1 << 20


class Readable(Protocol):
    """What this file needs of a stream."""

    def read(self, size: int = -1, /) -> bytes: ...


_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Readable]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_SEEKABLE = (b"PK\x03\x04", b"PK\x05\x06", _SEVEN_ZIP)

_BROKEN = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
)
"""What the standard library raises on damaged archives; RuntimeError: an encrypted zip or an unknown compression."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. Neither data nor problem: it is no replay and no archive."""

    name: str
    data: bytes | None = None
    problem: tuple[str, str] | None = None


def is_archive(head: bytes, name: str) -> bool:
    """Whether a file's first bytes (tar of old: its name) make it an archive."""
    return head.startswith((*_COMPRESSED, *_SEEKABLE)) or _is_tar(head, name)


def _is_tar(head: bytes, name: str) -> bool:
    return head[257:262] == b"ustar" or (name.lower().endswith(".tar") and len(head) == HEAD_BYTES)


def members(name: str, stream: Readable, *, asked_for: bool = False, depth: int = 0) -> Iterator[Member]:
    """Every file in a stream, which may itself be a replay, an archive, or neither.

    A damaged archive gives a Member with the problem in place of what follows in it.
    asked_for: whatever is no archive is taken for a replay.
    """
    try:
        head = _read_up_to(stream, HEAD_BYTES)
    except _BROKEN as error:
        yield Member(name, problem=("bad_archive", _words(error)))
        return
    if depth > MAX_DEPTH:
        yield Member(name, problem=("bad_archive", f"archives nested more than {MAX_DEPTH} deep"))
    elif (magic := next((m for m in _COMPRESSED if head.startswith(m)), None)) is not None:
        opened = _COMPRESSED[magic](cast(IO[bytes], _Joined(head, stream)))
        yield from members(_uncompressed_name(name), opened, asked_for=asked_for, depth=depth + 1)
    elif _is_tar(head, name):
        yield from _tar(name, _Joined(head, stream), depth)
    elif head.startswith(_SEEKABLE):
        yield from _seekable(name, head, stream, depth)
    elif head.startswith(ENVELOPE) or _is_replay(name) or (asked_for and not _is_archive_name(name)):
        yield _whole(name, head, stream)
    elif _is_archive_name(name):
        yield Member(name, problem=("bad_archive", f"begins with {head[:8]!r}" if head else "empty file"))
    else:
        yield Member(name)


def _is_replay(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(REPLAY_SUFFIXES) and not base.startswith("._")  # macOS puts such notes beside files


def _is_archive_name(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def _uncompressed_name(name: str) -> str:
    for suffix, rest in ((".gz", ""), (".bz2", ""), (".xz", ""), (".tgz", ".tar"), (".tbz2", ".tar"), (".txz", ".tar")):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] + rest
    return name


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]


def _read_up_to(stream: Readable, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (part := stream.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _whole(name: str, head: bytes, stream: Readable) -> Member:
    """A replay's bytes; of what only has its name, no more than the head is read to say what it is."""
    try:
        open_envelope(head)
    except ParseError as error:
        return Member(name, problem=(error.reason, error.detail))
    try:
        data = head + _read_up_to(stream, MAX_REPLAY_BYTES + 1 - len(head))
    except _BROKEN as error:
        return Member(name, problem=("bad_archive", _words(error)))
    if len(data) > MAX_REPLAY_BYTES:
        return Member(name, problem=("too_large", f"more than {MAX_REPLAY_BYTES} bytes"))
    return Member(name, data)


class _Joined(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self.head, self.rest = head, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self.head:
            return self.rest.read(size)
        out = self.head if size < 0 else self.head[:size]
        self.head = self.head[len(out) :]
        return out


# ---- tar ---------------------------------------------------------------------------------------------------------


def _tar(name: str, stream: Readable, depth: int) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=cast(IO[bytes], _Exact(stream)), mode="r|") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # in stream mode they only pile up
                if entry.isfile() and (opened := archive.extractfile(entry)) is not None:
                    yield from members(f"{name}/{entry.name}", opened, depth=depth + 1)
    except _BROKEN as error:
        yield Member(name, problem=("bad_archive", _words(error)))


class _Exact:
    """Reads as many bytes as asked for, unless the stream ends: tarfile takes a short read for the end."""

    def __init__(self, stream: Readable) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        return _read_up_to(self.stream, size)


# ---- zip and 7z, which need to seek -------------------------------------------------------------------------------


def _seekable(name: str, head: bytes, stream: Readable, depth: int) -> Iterator[Member]:
    opener = _seven_zip if head.startswith(_SEVEN_ZIP) else _zip
    if depth == 0:  # the file on disk
        file = cast(IO[bytes], stream)
        file.seek(0)
        yield from opener(name, file, depth)
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        try:
            spool.write(head)
            size = len(head)
            while part := stream.read(_CHUNK):
                size += len(part)
                if size > MAX_NESTED_BYTES:
                    yield Member(name, problem=("too_large", f"an archive of more than {MAX_NESTED_BYTES} bytes"))
                    return
                spool.write(part)
            spool.seek(0)
        except _BROKEN as error:
            yield Member(name, problem=("bad_archive", _words(error)))
            return
        yield from opener(name, cast(IO[bytes], spool), depth)


def _zip(name: str, file: IO[bytes], depth: int) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        yield Member(name, problem=("bad_archive", _words(error)))
        return
    with archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            try:
                opened = archive.open(entry)
            except _BROKEN as error:
                yield Member(f"{name}/{entry.filename}", problem=("bad_archive", _words(error)))
                continue
            with opened:
                yield from members(f"{name}/{entry.filename}", opened, depth=depth + 1)


class _Stopped(Exception):
    """The reader of a 7z archive went away."""


class _SevenZipReader(threading.Thread):
    """Unpacks a 7z archive member by member into a queue of two.

    py7zr pushes: it writes members into objects that it asks a factory for. Solid archives have to be unpacked in one
    go, so the pushing runs in a thread of its own and waits while the queue is full.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(name="7z", daemon=True)
        self.file = file
        self.ready: queue.Queue[tuple[str, IO[bytes]] | Exception | None] = queue.Queue(maxsize=1)
        self.stopped = threading.Event()
        self.current: _SevenZipMember | None = None

    def run(self) -> None:
        import py7zr

        try:
            with py7zr.SevenZipFile(self.file) as archive:
                if archive.needs_password():
                    raise ValueError("encrypted")
                archive.extract(factory=_factory(self))
            self.finish()
            self.put(None)
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001  (py7zr meets damage with whatever its code trips over; handed on)
            self.put(error)

    def put(self, item: tuple[str, IO[bytes]] | Exception | None) -> None:
        while not self.stopped.is_set():
            try:
                return self.ready.put(item, timeout=0.2)
            except queue.Full:
                continue
        raise _Stopped

    def finish(self) -> None:
        """Hand on the member that is written to, now that it is whole."""
        if (member := self.current) is not None:
            self.put((member.filename, member.file))
            self.current = None

    def stop(self) -> None:
        """End the thread, wherever it is, and let go of what it had unpacked."""
        self.stopped.set()
        self.join()
        left = [self.ready.get_nowait()] if self.ready.qsize() else []
        for file in [item[1] for item in left if isinstance(item, tuple)] + (
            [self.current.file] if self.current else []
        ):
            file.close()

    def create(self, filename: str) -> _SevenZipMember:
        self.finish()
        self.current = _SevenZipMember(filename)
        return self.current


class _SevenZipMember:
    """What py7zr writes a member into. Keeps nothing of files that are neither replay nor archive, or too large."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))  # noqa: SIM115  (the reader's)
        self.num_bytes, self.limit = 0, 0

    def write(self, part: bytes | bytearray) -> int:
        if self.num_bytes == 0:
            head = bytes(part[:HEAD_BYTES])
            self.limit = HEAD_BYTES
            if is_archive(head, self.filename):
                self.limit = MAX_NESTED_BYTES
            elif head.startswith(ENVELOPE):
                self.limit = MAX_REPLAY_BYTES + 1
        if self.num_bytes < self.limit:
            self.file.write(part[: self.limit - self.num_bytes])
        self.num_bytes += len(part)
        return len(part)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def size(self) -> int:
        return self.num_bytes


def _factory(reader: _SevenZipReader) -> Any:
    import py7zr.io

    class Factory(py7zr.io.WriterFactory):
        def create(self, filename: str) -> Any:
            return reader.create(filename)

    return Factory()


def _seven_zip(name: str, file: IO[bytes], depth: int) -> Iterator[Member]:
    reader = _SevenZipReader(file)
    reader.start()
    try:
        while (item := reader.ready.get()) is not None:
            if isinstance(item, Exception):
                yield Member(name, problem=("bad_archive", _words(item)))
                return
            inner, spool = item
            with spool:
                spool.seek(0)
                yield from members(f"{name}/{inner}", spool, depth=depth + 1)
    finally:
        reader.stop()
