"""Clips come back exactly, in both forms; whatever is no clip is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from worldmodel.clips.clip import BY_NAME, COLUMNS, BadClip, Clip, Frames, Meta, dtype_of
from worldmodel.clips.document import clips_document
from worldmodel.clips.errors import errors_of
from worldmodel.clips.files import clip_arrow, clip_json, read_clip, write_clip
from worldmodel.errors import WrongUse

HARD = [0.0, -0.0, 0.1, 1 / 3, 1e-45, -1e-38, 3.4028235e38, 16777216.0, 16777218.0, 5e-324, 9.999999e-5, 60.0, 1e16]


def random_frames(num_frames: int, seed: int, *, lacking: int = 0, hard: bool = True) -> Frames:
    """Any values that the types allow; the last `lacking` columns not recorded, some values unknown."""
    g = np.random.default_rng(seed)
    columns, unknown = {}, {}
    for column in COLUMNS[: len(COLUMNS) - lacking]:
        dtype = dtype_of(column)
        if dtype.kind == "f":
            values = g.normal(size=num_frames).astype("f4") * np.float32(10.0) ** g.integers(-3, 3, num_frames)
            if hard:
                values[: len(HARD)] = np.array(HARD, "f4")[:num_frames]
        else:
            top = np.iinfo(dtype).max if dtype.itemsize < 8 else (1 << 40) - 1
            values = g.integers(0, top, num_frames, endpoint=True, dtype=np.uint64)
        columns[column.name] = values.astype(dtype)
        if column.name.endswith("action_state") and num_frames > 3:
            columns[column.name][2] = 0
            unknown[column.name] = np.arange(num_frames) == 2
    return Frames(columns, unknown)


def make(num_frames: int = 30, seed: int = 0, **more: object) -> Clip:
    given = {
        "stage": 31,
        "characters": (2, 20),
        "first_frame": -123,
        "frames": random_frames(num_frames, seed),
        "truth": random_frames(num_frames, seed + 1, lacking=7),
        "meta": Meta(kind="dream", run="ünï", seed=3, temperature=0.5, start_frame=-124),
    }
    return Clip(**{**given, **more})


@pytest.mark.parametrize("form", ["json", "arrow"])
@pytest.mark.parametrize(
    "clip",
    [
        make(),
        make(1),
        make(truth=None),
        make(truth=random_frames(11, 5)),
        make(frames=random_frames(30, 2, lacking=20)),
        make(meta=Meta(kind="replay", temperature=1)),
    ],
)
def test_what_is_written_comes_back_exactly(clip: Clip, form: str, tmp_path: Path) -> None:
    write_clip(clip, tmp_path / f"clip.{form}")
    assert read_clip(tmp_path / f"clip.{form}").equals(clip)
    assert not read_clip(tmp_path / f"clip.{form}").equals(replace(clip, first_frame=0))


def test_json_is_what_the_viewer_is_told() -> None:
    clip = make()
    value = json.loads(clip_json(clip))
    assert value["fps"] == 60
    assert value["num_frames"] == 30
    assert value["stage"] == {"id": 31, "name": "Battlefield"}
    assert [who["name"] for who in value["characters"]] == ["Fox", "Falco"]
    assert set(value["columns"]) == set(value["truth"]) == set(BY_NAME)
    assert sum(values is None for values in value["truth"].values()) == 7
    assert value["columns"]["p0.action_state"][2] is None
    assert value["columns"]["p0.x"][2] == 0.1  # shortest decimals, not the double beside the float
    assert value["meta"]["kind"] == "dream"


def test_ten_seconds_are_less_than_a_megabyte() -> None:
    """With the truth beside, and no value twice."""
    assert len(clip_json(make(600, frames=random_frames(600, 0, hard=False), truth=random_frames(600, 1)))) < 1 << 20


def test_strange_values_are_refused() -> None:
    good = random_frames(5, 0).columns
    name = "p0.percent"
    for columns in (
        {**good, name: good[name].astype("f8")},
        {**good, name: good[name][:4]},
        {**good, name: np.full(5, np.nan, "f4")},
        {**good, "p0.nothing": good[name]},
    ):
        with pytest.raises(BadClip):
            Frames(columns)
    with pytest.raises(BadClip):
        make(kind := 3, truth=random_frames(kind + 1, 0))
    with pytest.raises(BadClip):
        make(meta=Meta(kind="film"))  # type: ignore[arg-type]


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"\.json or \.arrow"):
        write_clip(make(), tmp_path / "clip.gif")


# ---- garbage -----------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(WrongUse) as error:
        read_clip(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700
    return str(error.value)


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_damaged_clips_are_refused(form: str, tmp_path: Path) -> None:
    """Cut anywhere, it is refused; with bytes changed it is refused, or is a clip all the same, never a traceback."""
    path = tmp_path / f"clip.{form}"
    data = {"json": clip_json, "arrow": clip_arrow}[form](make(6))
    g = np.random.default_rng(0)
    for end in [0, 1, 7, *g.integers(8, len(data) - 1, 30)]:
        path.write_bytes(data[:end])
        refused(path)
    for _ in range(150):
        broken = bytearray(data)
        for place in g.integers(0, len(data), 3):
            broken[place] = g.integers(256)
        path.write_bytes(broken)
        try:
            read_clip(path)
        except WrongUse as error:
            assert "\n" not in str(error)  # noqa: PT017  either outcome is fine


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("fps"),
        lambda v: v.pop("columns"),
        lambda v: v.update(more=1),
        lambda v: v.update(version=2),
        lambda v: v.update(fps=True),
        lambda v: v.update(num_frames=5),
        lambda v: v.update(first_frame=1.5),
        lambda v: v.update(stage="Battlefield"),
        lambda v: v["stage"].update(id=10**30),
        lambda v: v.update(characters=[v["characters"][0]]),
        lambda v: v["meta"].update(seed="7"),
        lambda v: v["meta"].update(kind="film"),
        lambda v: v["meta"].pop("run"),
        lambda v: v["columns"].pop("p0.percent"),
        lambda v: v["columns"].update({"p0.secret": [1] * 6}),
        lambda v: v["columns"]["p0.stocks"].append(1),
        lambda v: v["columns"]["p0.stocks"].__setitem__(0, 256),
        lambda v: v["columns"]["p0.stocks"].__setitem__(0, -1),
        lambda v: v["columns"]["p0.stocks"].__setitem__(0, 1.5),
        lambda v: v["columns"]["p0.stocks"].__setitem__(0, True),
        lambda v: v["columns"]["p0.percent"].__setitem__(0, "1"),
        lambda v: v["columns"]["p0.percent"].__setitem__(0, 1e300),
        lambda v: v["columns"]["p0.percent"].__setitem__(0, 10**400),
        lambda v: v["columns"].update({"p0.percent": "x" * 10_000}),
        lambda v: v.update(columns=3),
        lambda v: v.update(truth=[]),
    ],
)
def test_wrong_json_is_refused(change, tmp_path: Path) -> None:
    value = json.loads(clip_json(make(6)))
    change(value)
    path = tmp_path / "clip.json"
    path.write_text(json.dumps(value))
    refused(path)


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "3", "[" * 100_000, '{"a":1,"a":2}', '{"format": NaN}', "\udcff", "not json at all"],
)
def test_other_texts_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    refused(path)


def test_other_arrow_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.arrow"
    for table in (pa.table({"p0.x": [1.0]}), pa.table({"a": ["b"]}).replace_schema_metadata({"worldmodel_clip": "{}"})):
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        refused(path)
    refused(tmp_path / "nothing.arrow")
    refused(tmp_path)


# ---- errors ------------------------------------------------------------------------------------------------------


def test_errors_are_distances_and_counts() -> None:
    def frames(x: list[float], stocks: list[int], action: int) -> Frames:
        out = {}
        for player in ("p0", "p1"):
            out |= {
                f"{player}.x": np.array(x, "f4"),
                f"{player}.y": np.zeros(len(x), "f4"),
                f"{player}.percent": np.zeros(len(x), "f4"),
                f"{player}.stocks": np.array(stocks, "u1"),
                f"{player}.action_state": np.full(len(x), action, "u2"),
            }
        return Frames(out)

    dream, truth = frames([1, 2, 3, 4], [4, 4, 3, 2], 14), frames([1, 1, 1], [3, 3, 3], 14)
    clip = make(frames=dream, truth=truth)
    first, third, last = errors_of(clip, frames([0], [4], 0), horizons=(1, 3, 10))
    assert (first.frames, first.position, first.same_action) == (1, 0.0, 2)
    assert (first.true_deaths, first.dreamed_deaths) == (2, 0)
    assert (third.position, third.true_deaths, third.dreamed_deaths) == (2.0, 2, 2)
    assert (last.frames, last.position, last.true_deaths, last.dreamed_deaths) == (4, None, None, 4)


def test_the_document_is_current() -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "clips.md"
    assert document.read_text(encoding="utf-8") == clips_document(), "run python -m worldmodel.clips.document"
