"""Rows are whole, strict, and survive a writer that is killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldmodel.errors import WrongUse
from worldmodel.tracking.jsonl import JsonlWriter, cut_from, encode, read


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with JsonlWriter(path) as out:
        out.write({"step": 1, "name": "ä\nb"})
        assert read(path).rows == [{"step": 1, "name": "ä\nb"}]  # before it is closed
        out.write({"step": 2})
    with JsonlWriter(path, durable=True) as out:
        out.write({"step": 3})
    assert [row["step"] for row in read(path).rows] == [1, 2, 3]
    assert read(tmp_path / "none.jsonl").rows == []


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key != "non_finite"), st.floats()))
def test_any_number_is_strict_json(row: dict[str, float]) -> None:
    found = json.loads(encode(row), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for key, value in row.items():
        if key in found.get("non_finite", []):
            assert found[key] is None
            assert value - value != 0
        else:
            assert found[key] == value


def test_the_writers_own_key() -> None:
    with pytest.raises(ValueError, match="non_finite"):
        encode({"non_finite": 1})


@pytest.mark.parametrize("torn", ['{"step":', "x" * 200_000])
def test_a_torn_line_is_told_and_cut(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step":1}\n' + torn)
    found = read(path)
    assert (found.rows, found.torn) == ([{"step": 1}], torn)
    with JsonlWriter(path) as out:
        assert out.num_torn_bytes == len(torn)
        out.write({"step": 2})
    assert path.read_text() == '{"step":1}\n{"step":2}\n'


def test_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"st')
    with JsonlWriter(path) as out:
        assert out.num_torn_bytes == 4
    assert path.read_text() == ""


@pytest.mark.parametrize("line", ["nonsense", "3", ""])
def test_damage_in_the_middle_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"step":1}}\n{line}\n{{"step":2}}\n')
    with pytest.raises(WrongUse, match=r"m\.jsonl:2"):
        read(path)


def test_cut_from(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    text = "".join(f'{{"step":{step}}}\n' for step in (1, 2, 2, 3))
    path.write_text(text)
    assert cut_from(path, lambda row: row["step"] > 3) == 0
    assert path.read_text() == text
    assert cut_from(path, lambda row: row["step"] > 1) == 3
    assert path.read_text() == '{"step":1}\n'
    assert cut_from(tmp_path / "none.jsonl", lambda row: True) == 0
