"""What the simulator had is what the parser gives, for every field of every version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worldmodel.errors import WrongUse
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.synth.game import Rules, play
from worldmodel.replays.synth.generate import MARKER, game_name, write_games
from worldmodel.replays.synth.writer import LATEST, Rollback, payload_sizes, write_slp
from worldmodel.schema import LAYOUT

VERSIONS = [
    (0, 1, 0), (1, 0, 0), (1, 2, 0), (1, 7, 1), (2, 0, 1), (2, 2, 0), (3, 3, 0), (3, 6, 0), (3, 7, 0), (3, 9, 0),
    (3, 12, 0), (3, 13, 0), (3, 14, 0), (3, 15, 0), (3, 16, 0), LATEST, (3, 18, 0),
]  # fmt: skip

REAL_SIZES = {
    (0, 1, 0): (320, 58, 33, 1),
    (1, 7, 1): (417, 63, 37, 1),
    (2, 0, 1): (418, 63, 51, 2),
    (2, 2, 0): (418, 63, 52, 2),
    (3, 6, 0): (418, 63, 72, 2),
    (3, 7, 0): (420, 63, 72, 2),
    (3, 9, 0): (584, 63, 76, 2),
    (3, 12, 0): (701, 63, 80, 2),
    (3, 14, 0): (760, 63, 80, 6),
    (3, 17, 0): (760, 66, 84, 6),
}
"""Payload bytes of start, pre-frame, post-frame and end events, read off real replays."""


@pytest.fixture(scope="module")
def game():
    return next(play(5, [2], Rules(stocks=1, max_frames=600)))[1]


def same(found, expected) -> bool:
    return found.dtype == expected.dtype and found.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("version", sorted(REAL_SIZES))
def test_payload_sizes_are_those_of_real_replays(version):
    sizes = payload_sizes(version)
    assert tuple(sizes[code] for code in (0x36, 0x37, 0x38, 0x39)) == REAL_SIZES[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_round_trip_of_every_field(game, version):
    replay = parse_replay(write_slp(game, version=version))
    expected = {c.name for c in LAYOUT.columns if c.field.stored and c.field.since <= version}
    expected.add("random_seed")  # older versions have it in another event
    assert set(replay.columns) == expected
    for name, values in replay.columns.items():
        assert same(values, game.columns[name]), name
    assert replay.version == version
    assert replay.num_frames == game.num_frames
    assert replay.first_frame_id == -123
    assert replay.stage == game.stage
    assert tuple(p.character for p in replay.players) == game.characters
    assert replay.end_method == ("game" if game.by_stocks else "time")
    assert replay.started_at == game.started_at
    assert replay.match_id == (game.match_id if version >= (3, 14, 0) else "")
    assert tuple(p.name for p in replay.players) == game.names
    assert tuple(p.code for p in replay.players) == game.codes


def test_every_stored_field_is_simulated(game):
    assert set(game.columns) == {c.name for c in LAYOUT.columns if c.field.stored}


def test_other_ports(game):
    replay = parse_replay(write_slp(replace(game, ports=(1, 3))))
    assert [p.port for p in replay.players] == [1, 3]
    names = {0: 1, 1: 3, 6: 6}
    for player in ("p0", "p1"):
        mine = game.columns[f"{player}.last_hit_by"]
        assert [names[int(v)] for v in np.unique(mine)] == np.unique(replay.columns[f"{player}.last_hit_by"]).tolist()
    assert same(replay.columns["p1.x"], game.columns["p1.x"])
    assert replay.placements is not None
    assert (replay.placements[0], replay.placements[2]) == (-1, -1)


@pytest.mark.parametrize("version", [(2, 2, 0), (3, 9, 0), LATEST])
def test_rollbacks_are_corrected(game, version):
    backs = (Rollback(130, 1), Rollback(200, 7), Rollback(240, 3))
    clean, rolled = write_slp(game, version=version), write_slp(game, version=version, rollbacks=backs)
    assert len(rolled) > len(clean)
    replay = parse_replay(rolled)
    assert replay.num_rollback_rows == 11
    for name, values in replay.columns.items():
        assert same(values, game.columns[name]), name


def test_rollbacks_that_cannot_be(game):
    for back in (Rollback(130, 8), Rollback(game.num_frames, 1)):
        with pytest.raises(ValueError, match="depth"):
            write_slp(game, rollbacks=(back,))


def test_items_and_platforms(game):
    t = np.array([100, 101, 101, 101, 150], dtype=np.int32)
    lasers = {"t": t, "type": np.full(5, 0x36, dtype=np.uint16), "x": np.linspace(-5, 5, 5, dtype=np.float32)}
    platforms = {
        "t": np.array([0, 1], dtype=np.int32),
        "platform": np.array([0, 1], dtype=np.uint8),
        "height": np.array([16.125, 22.125], dtype=np.float32),
    }
    busy = replace(game, sparse={"items": lasers, "fod_platforms": platforms})
    replay = parse_replay(write_slp(busy, version=(3, 18, 0), rollbacks=(Rollback(102, 3),)))
    for table, rows in busy.sparse.items():
        for name, values in rows.items():
            assert same(replay.sparse[table][name], values), name
    for name, values in replay.columns.items():
        assert same(values, game.columns[name]), name
    with pytest.raises(ValueError, match="fod_platforms"):
        write_slp(busy, version=LATEST)


def test_an_independent_parser_agrees(game, tmp_path):
    peppi_py = pytest.importorskip("peppi_py")
    path = tmp_path / "a.slp"
    path.write_bytes(write_slp(game))
    read = peppi_py.read_slippi(str(path))
    for index, player in enumerate(("p0", "p1")):
        post = read.frames.ports[index].leader.post
        assert same(post.position.x.to_numpy(), game.columns[f"{player}.x"])
        assert same(post.percent.to_numpy(), game.columns[f"{player}.percent"])
        assert same(post.hitlag.to_numpy(), game.columns[f"{player}.hitlag"])
    assert read.metadata["lastFrame"] == game.num_frames - 124


# ---- folders of games --------------------------------------------------------------------------------------------

SHORT = Rules(stocks=1, max_frames=128)


def test_a_set_resumes_and_is_the_same(tmp_path):
    out, whole = tmp_path / "a", tmp_path / "b"
    assert write_games(out, 2, 3, rules=SHORT) == 2
    (out / game_name(3, 0)).unlink()
    counted = []
    assert write_games(out, 4, 3, rules=SHORT, progress=counted.append) == 3
    assert sum(counted) == 4
    assert write_games(whole, 4, 3, rules=SHORT) == 4
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert len(list(out.iterdir())) == 5


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(WrongUse, match="holds other files"):
        write_games(tmp_path, 1, 3, rules=SHORT)
    out = tmp_path / "set"
    write_games(out, 1, 3, rules=SHORT)
    with pytest.raises(WrongUse, match="another set"):
        write_games(out, 1, 4, rules=SHORT)
    (out / MARKER).write_text("{")
    with pytest.raises(WrongUse, match="unreadable"):
        write_games(out, 1, 3, rules=SHORT)


@pytest.mark.slow
def test_workers_write_the_same_bytes(tmp_path):
    write_games(tmp_path / "one", 3, 3, rules=SHORT)
    write_games(tmp_path / "two", 3, 3, rules=SHORT, workers=2)
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
