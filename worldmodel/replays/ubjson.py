"""Universal Binary JSON (draft 12), as much of it as `.slp` files use: a reader that gives up cleanly, and a writer.

Owns: the encoding. Must not: know what a replay is.
Source: the UBJSON draft 12 specification (ubjson.org), types and optimised containers.
"""

from __future__ import annotations

import struct

UBJson = None | bool | int | float | str | bytes | list["UBJson"] | dict[str, "UBJson"]
"""Values. `bytes` is the optimised array of uint8 (`[$U#`), which is how a replay holds its event stream."""

MAX_DEPTH = 32
MAX_ITEMS = 1_000_000

_NUMBERS = {code: struct.Struct(">" + fmt) for code, fmt in zip(b"iUIlLdD", "bBhiqfd", strict=True)}
_INTEGERS = b"iUIlL"
_CONSTANTS: dict[int, bool | None] = {ord("Z"): None, ord("T"): True, ord("F"): False}


class UBJsonError(ValueError):
    """The bytes are not UBJSON, or end too early."""


def loads(data: bytes, start: int = 0) -> tuple[UBJson, int]:
    """The value that begins at byte `start`, and the offset of the byte after it. Raises UBJsonError."""
    reader = _Reader(data, start)
    value = reader.value(reader.marker(), 0)
    return value, reader.at


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at, self.num_items = data, at, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise UBJsonError(f"{count} bytes wanted at byte {self.at}, {len(self.data) - self.at} there")
        self.at += count
        return self.data[self.at - count : self.at]

    def peek(self) -> int:
        if self.at >= len(self.data):
            raise UBJsonError(f"ends at byte {self.at} inside a value")
        return self.data[self.at]

    def marker(self) -> int:
        code = ord("N")
        while code == ord("N"):
            code = self.take(1)[0]
        return code

    def integer(self) -> int:
        code = self.take(1)[0]
        if code not in _INTEGERS:
            raise UBJsonError(f"a length of type 0x{code:02x} at byte {self.at - 1}")
        return int(_NUMBERS[code].unpack(self.take(_NUMBERS[code].size))[0])

    def text(self) -> str:
        return self.take(self.integer()).decode("utf-8", errors="replace")

    def value(self, code: int, depth: int) -> UBJson:
        self.num_items += 1
        if depth > MAX_DEPTH or self.num_items > MAX_ITEMS:
            raise UBJsonError("too deep or too many values")
        if code in _NUMBERS:
            number: UBJson = _NUMBERS[code].unpack(self.take(_NUMBERS[code].size))[0]
            return number
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code == ord("S"):
            return self.text()
        if code == ord("C"):
            return self.take(1).decode("latin-1")
        if code == ord("H"):
            return self.text()
        if code == ord("["):
            return self.array(depth)
        if code == ord("{"):
            return self.object(depth)
        raise UBJsonError(f"unknown type 0x{code:02x} at byte {self.at - 1}")

    def header(self) -> tuple[int | None, int | None]:
        """(type, count) of an optimised container; each None if not given."""
        kind = count = None
        if self.peek() == ord("$"):
            kind = self.take(2)[1]
        if self.peek() == ord("#"):
            self.at += 1
            count = self.integer()
            if count < 0:
                raise UBJsonError(f"a container of {count} values")
        elif kind is not None:
            raise UBJsonError("a typed container without a count")
        return kind, count

    def array(self, depth: int) -> UBJson:
        kind, count = self.header()
        if kind == ord("U") and count is not None:
            return self.take(count)
        out: list[UBJson] = []
        while len(out) != count:
            code = self.marker() if kind is None else kind
            if count is None and code == ord("]"):
                break
            out.append(self.value(code, depth + 1))
        return out

    def object(self, depth: int) -> UBJson:
        kind, count = self.header()
        out: dict[str, UBJson] = {}
        seen = 0
        while seen != count:
            if count is None and self.peek() == ord("}"):
                self.at += 1
                break
            key = self.text()
            out[key] = self.value(self.marker() if kind is None else kind, depth + 1)
            seen += 1
        return out


def dumps(value: UBJson) -> bytes:
    """The value as UBJSON. Integers take the type that Slippi writes ("l", four bytes) where they fit it."""
    if value is None:
        return b"Z"
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return b"l" + struct.pack(">i", value) if -(2**31) <= value < 2**31 else b"L" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"D" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, bytes):
        return b"[$U#l" + struct.pack(">i", len(value)) + value
    if isinstance(value, list):
        return b"[" + b"".join(dumps(item) for item in value) + b"]"
    return b"{" + b"".join(_text(key) + dumps(item) for key, item in value.items()) + b"}"


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"l" + struct.pack(">i", len(raw))) + raw
