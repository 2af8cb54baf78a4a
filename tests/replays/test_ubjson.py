"""UBJSON there and back, the forms that other writers use, and a clean refusal of everything else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldmodel.replays.ubjson import UBJsonError, dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_there_and_back(value: object) -> None:
    data = dumps(value)  # type: ignore[arg-type]
    assert loads(data) == (value, len(data))


def test_what_slippi_writes() -> None:
    data = b"xx{U\x07startAtSU\x042020U\x09lastFramel\xff\xff\xff\xfeU\x01ai\xf0}rest"
    assert loads(data, 2) == ({"startAt": "2020", "lastFrame": -2, "a": -16}, len(data) - 4)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"[#U\x02ZT", [None, True]),
        (b"[$i#U\x02\x01\xff", [1, -1]),
        (b"{$U#U\x01U\x01a\x07", {"a": 7}),
        (b"[N$", None),
        (b"CA", "A"),
        (b"HU\x0212", "12"),
        (b"I\xff\xfe", -2),
        (b"d\x3f\x80\0\0", 1.0),
    ],
)
def test_other_forms(data: bytes, value: object) -> None:
    if value is None:
        with pytest.raises(UBJsonError):
            loads(data)
    else:
        assert loads(data) == (value, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"SU\x09abc",
        b"[$U#l\xff\xff\xff\xff",
        b"[$i",
        b"x",
        b"[" * 5000,
        b"[$Z#l\x7f\xff\xff\xff",
        b"Sl\xff\xff\xff\xff",
    ],
)
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(UBJsonError):
        loads(data)


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_a_refusal(data: bytes) -> None:
    with suppress(UBJsonError):
        loads(data)
