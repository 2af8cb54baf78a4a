"""Tensors out of a torch file without torch, and without running anything that stands in it.

Owns: the archive's form, and which of its words are understood. Must not: know what the tensors mean.

A `.pt` file is a zip archive, uncompressed, of one pickle and one file per storage. A pickle is a program: here it may
build numbers, texts, lists, dicts and tensors, and names nothing else. Tensors are views of the file on disk
(np.memmap), so that a file of 74 GB costs no memory.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WrongUse

MAX_PICKLE_BYTES = 1 << 28
"""Lists of lengths are in it; tensors are not."""
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
"""What `zipfile` raises for what stands in a file, each of which is told in one line as a wrong file: no archive, a
damaged stream, an end too early, names that are no text; RuntimeError for a password, and for a version or a method of
compression that it does not know."""
_LOCAL_HEADER = 30
_TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?",
}  # fmt: skip


class TorchFile:
    """A torch archive: `value` is what was saved, tensors as read-only arrays. `content_hash`: of the whole content."""

    def __init__(self, path: Path) -> None:
        """Raises WrongUse for what is no torch archive, is damaged, or holds anything but plain values and tensors."""
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {info.filename: info for info in archive.infolist()}
                pickles = [name for name in self._members if name.endswith("data.pkl")]
                if len(pickles) != 1:
                    raise self._wrong("it is a zip archive without one data.pkl")
                self._root = pickles[0].removesuffix("data.pkl")
                if self._members[pickles[0]].file_size > MAX_PICKLE_BYTES:
                    raise self._wrong(f"its data.pkl has {self._members[pickles[0]].file_size:,} bytes")
                code = archive.read(pickles[0])
                order = (
                    archive.read(f"{self._root}byteorder") if f"{self._root}byteorder" in self._members else b"little"
                )
        except FileNotFoundError:
            raise WrongUse(f"no file {path}", "a .pt file", "check the path") from None
        except OSError as error:
            raise self._unreadable(error) from error
        except DAMAGE as error:
            raise self._wrong(str(error)) from error
        if order != b"little":
            raise self._wrong(f"its byte order is {order[:20]!r}")
        self.content_hash = self._hash(code)
        try:
            self.value = _Reader(io.BytesIO(code), self._storage).load()
        except WrongUse:
            raise
        # A pickle that is no pickle fails in as many ways as there are opcodes.
        except (pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError) as error:
            raise self._wrong(f"its data.pkl cannot be read ({type(error).__name__}: {error})") from error

    def _wrong(self, what: str) -> WrongUse:
        return WrongUse(
            f"{self.path}: {what}",
            "a file that torch.save wrote, of plain values and tensors",
            "check which file it is",
        )

    def _unreadable(self, error: OSError) -> WrongUse:
        """What the machine said, which is no word about what stands in the file."""
        return WrongUse(
            f"{self.path} cannot be read ({error.strerror or error})",
            "a file that this machine can read",
            "check the path, its rights and its disk",
        )

    def verify(self) -> None:
        """Compare every byte with the archive's checksums: one pass over the file. Raises WrongUse."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in self._members.values():
                    with archive.open(info) as member:
                        while member.read(1 << 24):
                            pass
        except OSError as error:
            raise self._unreadable(error) from error
        except DAMAGE as error:
            raise self._wrong(f"it is damaged ({error})") from error

    def _hash(self, code: bytes) -> str:
        """Of names, sizes and the checksums that the archive keeps; no tensor is read for it."""
        digest = hashlib.sha256(code)
        for name, info in sorted(self._members.items()):
            digest.update(f"\n{name.removeprefix(self._root)} {info.file_size} {info.CRC}".encode())
        return digest.hexdigest()

    def _storage(self, kind: str, key: str) -> NDArray[Any]:
        info = self._members.get(f"{self._root}data/{key}")
        if info is None:
            raise self._wrong(f"storage {key!r} is missing")
        if info.compress_type != zipfile.ZIP_STORED:
            raise self._wrong(f"storage {key!r} is compressed")
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise self._wrong(f"storage {key!r} is not where the archive says")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        begins = info.header_offset + _LOCAL_HEADER + name_length + extra_length
        dtype = np.dtype(_TYPES[kind])
        if info.file_size % dtype.itemsize or begins + info.file_size > self.path.stat().st_size:
            raise self._wrong(f"storage {key!r} is cut off")
        if not info.file_size:
            return np.zeros(0, dtype)
        return np.memmap(self.path, dtype, "r", begins, (info.file_size // dtype.itemsize,))


class _Kind:
    """A type of storage, by its name in the pickle. No value of it can be made."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Reader(pickle.Unpickler):
    """Only what is listed here can be named by the pickle, and only these functions can be called by it."""

    def __init__(self, file: io.BytesIO, storage: Callable[[str, str], NDArray[Any]]) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _TYPES:
            return _Kind(name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not data")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _Kind):
            raise pickle.UnpicklingError("a reference that is no storage")
        found = self._storage(pid[1].name, str(pid[2]))
        if len(found) != pid[4]:
            raise pickle.UnpicklingError(f"storage {pid[2]} has {len(found):,} elements, not {pid[4]:,}")
        return found


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *ignored: Any) -> NDArray[Any]:
    """A tensor of a storage. Raises UnpicklingError for one that is not row-major within it."""
    if not isinstance(storage, np.ndarray) or not isinstance(offset, int) or not isinstance(size, tuple):
        raise pickle.UnpicklingError("a tensor that is built of no storage")
    if not all(isinstance(length, int) and length >= 0 for length in size):
        raise pickle.UnpicklingError("a tensor of no size")
    num, row_major = 1, []
    for length in reversed(size):
        row_major.append(num)
        num *= length
    if num and tuple(s for s, n in zip(stride, size, strict=True) if n > 1) != tuple(
        s for s, n in zip(reversed(row_major), size, strict=True) if n > 1
    ):
        raise pickle.UnpicklingError("a tensor that is not row-major")
    if offset < 0 or offset + num > len(storage):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    return storage[offset : offset + num].reshape(size)
