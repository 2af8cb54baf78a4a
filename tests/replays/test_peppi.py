"""Every stored value of real replays equals peppi's, bit for bit. Peppi is the oracle here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_index import index

from worldmodel.replays.parse import parse_replay
from worldmodel.schema import LAYOUT, Event
from worldmodel.schema.sparse import SPARSE_TABLES

# Path of a value in peppi's structs, by the event and the offset where the schema says it stands.
_PRE = {
    0x07: "random_seed", 0x19: "joystick/x", 0x1D: "joystick/y", 0x21: "cstick/x", 0x25: "cstick/y", 0x29: "triggers",
    0x2D: "buttons", 0x31: "buttons_physical", 0x33: "triggers_physical/l", 0x37: "triggers_physical/r",
    0x3B: "raw_analog_x", 0x40: "raw_analog_y", 0x41: "raw_analog_cstick_x", 0x42: "raw_analog_cstick_y",
}  # fmt: skip
_POST = {
    0x07: "character", 0x08: "state", 0x0A: "position/x", 0x0E: "position/y", 0x12: "direction", 0x16: "percent",
    0x1A: "shield", 0x1E: "last_attack_landed", 0x1F: "combo_count", 0x20: "last_hit_by", 0x21: "stocks",
    0x22: "state_age", 0x2B: "misc_as", 0x2F: "airborne", 0x30: "ground", 0x32: "jumps", 0x33: "l_cancel",
    0x34: "hurtbox_state", 0x35: "velocities/self_x_air", 0x39: "velocities/self_y", 0x3D: "velocities/knockback_x",
    0x41: "velocities/knockback_y", 0x45: "velocities/self_x_ground", 0x49: "hitlag", 0x4D: "animation_index",
}  # fmt: skip
_ITEM = {
    0x05: "type", 0x07: "state", 0x08: "direction", 0x0C: "velocity/x", 0x10: "velocity/y", 0x14: "position/x",
    0x18: "position/y", 0x1C: "damage", 0x1E: "timer", 0x22: "id", 0x26: "misc/0", 0x27: "misc/1", 0x28: "misc/2",
    0x29: "misc/3", 0x2A: "owner", 0x2B: "instance_id",
}  # fmt: skip
_STATE_FLAGS = 0x26


def _reach(struct: Any, path: str) -> Any:
    for name in path.split("/"):
        names = [struct.type.field(k).name for k in range(struct.type.num_fields)]
        if name not in names:
            return None
        struct = struct.field(name)
    return struct


def _numpy(array: Any) -> np.ndarray:
    return array.fill_null(0).to_numpy(zero_copy_only=False)


def _expected(frames: Any, port: int, event: Event, offset: int) -> np.ndarray | None:
    if event is Event.FRAME_START:
        return _numpy(frames.field("start").field("random_seed"))
    leader = frames.field("ports").field(f"P{port + 1}").field("leader")
    if event is Event.PRE:
        found = _reach(leader.field("pre"), _PRE[offset])
        return None if found is None else _numpy(found)
    post = leader.field("post")
    if offset == _STATE_FLAGS:
        parts = [_reach(post, f"state_flags/{k}") for k in range(5)]
        if None in parts:
            return None
        return sum(_numpy(part).astype(np.uint64) << np.uint64(8 * k) for k, part in enumerate(parts))
    found = _reach(post, _POST[offset])
    return None if found is None else _numpy(found)


def compare(path: Path) -> int:
    """Assert that all columns and items of a file equal peppi's, last copy of each frame. Returns its frames."""
    import peppi_py._peppi

    replay = parse_replay(path.read_bytes())
    frames = peppi_py._peppi.read_slippi(str(path), False).frames
    ids = frames.field("id").to_numpy()
    last = np.array(sorted({int(frame): row for row, frame in enumerate(ids)}.values()))
    last = last[np.argsort(ids[last])]
    assert replay.num_frames == len(last)
    assert replay.first_frame_id == ids[last[0]]
    assert replay.num_rollback_rows == len(ids) - len(last)
    names = [frames.type.field(k).name for k in range(frames.type.num_fields)]
    for column in LAYOUT.columns:
        if not column.field.stored:
            continue
        port = replay.players[0 if column.player in (None, "p0") else 1].port
        wires = [w for w in column.field.wire if w.event is not Event.FRAME_START or "start" in names]
        want = _expected(frames, port, wires[0].event, wires[0].offset)
        if want is None:
            assert column.name not in replay.columns
            continue
        got = replay.columns[column.name]
        assert got.dtype == np.dtype(column.field.dtype)
        assert got.tobytes() == want[last].astype(got.dtype, copy=False).tobytes(), column.name
    _compare_items(replay.sparse, frames if "item" in names else None, last)
    return len(last)


def _compare_items(sparse: dict[str, Any], frames: Any, last: np.ndarray) -> None:
    (table,) = (t for t in SPARSE_TABLES if t.event is Event.ITEM)
    if frames is None:
        assert table.name not in sparse
        return
    items = frames.field("item")
    offsets, values = items.offsets.to_numpy(), items.flatten()
    counts = np.diff(offsets)[last]
    rows = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in last]).astype(np.int64)
    got = sparse[table.name]
    assert np.array_equal(got["t"], np.repeat(np.arange(len(last)), counts))
    for column in table.columns:
        want = _reach(values, _ITEM[column.wire.offset])
        assert (want is None) == (column.name not in got)
        if want is not None:
            assert got[column.name].tobytes() == _numpy(want)[rows].tobytes(), column.name


@pytest.mark.replays
def test_core_equals_peppi(real_replays: Path) -> None:
    """All versions and modes: every two-player file that peppi can read."""
    rows = [row for row in index("core") if not row["error"] and row["n_players"] == "2"]
    small = [row for row in rows if int(row["size"]) < 2_500_000]
    assert len(small) > 80
    for row in small:
        assert compare(real_replays / "core" / row["name"]) == int(row["n_unique"])


@pytest.mark.replays
def test_train_sample_equals_peppi(real_replays: Path) -> None:
    for row in index("train")[::25]:
        assert compare(real_replays / "train" / row["name"]) == int(row["n_unique"])


@pytest.mark.replays
@pytest.mark.slow
def test_all_of_train_equals_peppi(real_replays: Path) -> None:
    for row in index("train"):
        assert compare(real_replays / "train" / row["name"]) == int(row["n_unique"])
