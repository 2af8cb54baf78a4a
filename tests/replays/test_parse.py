"""The parser, on files made byte by byte: what it reads, which copy of a frame counts, how it ends on anything."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import slp_bytes as b
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worldmodel.replays import ubjson
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import ParseError
from worldmodel.schema import LAYOUT


def _bits(values: np.ndarray) -> list[int]:
    return (values.view("u4") if values.dtype.kind == "f" else values).tolist()


def _raw(data: bytes) -> bytes:
    return data[15 : 15 + struct.unpack_from(">i", data, 11)[0]]


def _assert_same_as_slow(data: bytes, ports: tuple[int, int] = (0, 1)) -> None:
    replay = parse_replay(data)
    columns, sparse = b.slow_columns(_raw(data), ports)
    assert {name: _bits(values) for name, values in replay.columns.items()} == columns
    for name, rows in sparse.items():
        got = [_bits(values) for values in replay.sparse[name].values()]
        assert [list(row) for row in zip(*got, strict=True)] == rows
    assert all(len(table["t"]) == 0 for name, table in replay.sparse.items() if name not in sparse)


def reason(data: bytes) -> str:
    with pytest.raises(ParseError) as caught:
        parse_replay(data)
    assert caught.value.detail
    return caught.value.reason


# ---- values ------------------------------------------------------------------------------------------------------


def test_known_values_at_known_offsets() -> None:
    rng = np.random.default_rng(0)
    post = b.event(
        b.NEW, b.POST, f=(1, "i", -123), p=(5, "B", 3), c=(7, "B", 1), a=(8, "H", 14), x=(0xA, "f", -12.5),
        pc=(0x16, "f", 33.75), st=(0x21, "B", 4), flags=(0x26, "5s", bytes([0x10, 4, 0, 0x82, 0x40])),
        g=(0x30, "H", 65535), an=(0x4D, "I", 70000),
    )  # fmt: skip
    pre = b.event(
        b.NEW, b.PRE, f=(1, "i", -123), p=(5, "B", 3), j=(0x19, "f", -0.7),
        bt=(0x2D, "I", 0x80000100), r=(0x3B, "b", -80),
    )  # fmt: skip
    one = (
        b.event(b.NEW, b.START, f=(1, "i", -123), s=(5, "I", 0xDEADBEEF))
        + b.player_event(b.NEW, b.PRE, -123, 1, rng) + pre + b.player_event(b.NEW, b.POST, -123, 1, rng) + post
    )  # fmt: skip
    replay = parse_replay(b.slp(b.NEW, one, start=b.game_start(b.NEW, (1, 3))))
    got = {name: values.item() for name, values in replay.columns.items()}
    assert [player.port for player in replay.players] == [1, 3]
    assert got["random_seed"] == 0xDEADBEEF
    assert (got["p1.character"], got["p1.action_state"], got["p1.x"], got["p1.percent"]) == (1, 14, -12.5, 33.75)
    assert (got["p1.stocks"], got["p1.ground"], got["p1.animation_index"]) == (4, 65535, 70000)
    assert got["p1.state_flags"] == 0x40_82_00_04_10
    assert got["p1.pad.stick_x"] == np.float32(-0.7)
    assert (got["p1.pad.buttons"], got["p1.pad.raw_stick_x"]) == (0x80000100, -80)


def test_columns_have_the_types_of_the_schema() -> None:
    replay = parse_replay(b.plain(5))
    stored = [column for column in LAYOUT.columns if column.field.stored]
    assert list(replay.columns) == [column.name for column in stored]
    for column in stored:
        values = replay.columns[column.name]
        assert values.dtype == np.dtype(column.field.dtype)
        assert values.dtype.isnative
        assert values.shape == (5,)


@pytest.mark.parametrize(
    ("sizes", "absent", "present"),
    [
        (b.V3_6, {"p0.hitlag", "p0.animation_index"}, {"p0.self_x_air", "random_seed"}),
        (b.V2_0, {"p0.hurtbox_state", "p0.self_y", "p1.hitlag"}, {"p0.airborne", "p0.state_flags", "random_seed"}),
        (b.V0_1, {"p0.state_age", "p0.pad.raw_stick_x", "p1.jumps"}, {"p1.percent", "p0.pad.stick_x", "random_seed"}),
    ],
)
def test_a_field_that_the_replay_lacks_is_absent(sizes: dict[int, int], absent: set[str], present: set[str]) -> None:
    data = b.plain(40, sizes)
    replay = parse_replay(data)
    assert present <= replay.columns.keys()
    assert not absent & replay.columns.keys()
    assert (b.ITEM in sizes) == bool(replay.sparse)
    _assert_same_as_slow(data)


def test_newer_versions_are_read_by_their_sizes() -> None:
    sizes = b.NEW | {b.POST: 120, b.START: 40, 0x36: 2000, 0x50: 7}
    rng = np.random.default_rng(1)
    frames = b"".join(b.frame(sizes, t, rng) + b.event(sizes, 0x50) for t in range(9))
    _assert_same_as_slow(b.slp(sizes, frames))
    assert parse_replay(b.slp(sizes, frames)).num_frames == 9


_FRAME = st.tuples(
    st.integers(0, 3),  # how far the id steps back
    st.sampled_from([0, 0, 0, 0, 1, 2, 5]),  # items
    st.sampled_from([None, None, None, 0x3F, 0x41]),
    st.integers(1, 40),  # repeated so often
)


@settings(max_examples=60, deadline=None)
@example([(0, 0, None, 1), (0, 1, None, 1), (2, 1, None, 1)], b.NEW, (0, 1), None, 0)  # ends within a rollback
@given(
    st.lists(_FRAME, min_size=1, max_size=12),
    st.sampled_from([b.NEW, b.V3_6, b.V2_0, b.V0_1]),
    st.sampled_from([(0, 1), (1, 3), (0, 2)]),
    st.sampled_from([None, None, 0, 1]),
    st.integers(0, 2**32),
)
def test_any_stream_reads_as_event_by_event(
    plan: list[tuple[int, int, int | None, int]],
    sizes: dict[int, int],
    ports: tuple[int, int],
    nana: int | None,
    seed: int,
) -> None:
    """Strides over frames of one shape find what a walk over single events finds, Nana and rollbacks included."""
    rng = np.random.default_rng(seed)
    number, frames, copies = -123, [], 0
    nana_port = None if nana is None else ports[nana]
    for back, items, stage_event, times in plan:
        if b.START in sizes:  # rollbacks came with online play
            number = max(-123, number - back)
        for _ in range(times):
            frames.append(
                b.frame(sizes, number, rng, ports=ports, nana=nana_port, items=items, stage_event=stage_event)
            )
            number, copies = number + 1, copies + 1
    data = b.slp(sizes, b"".join(frames), start=b.game_start(sizes, ports))
    _assert_same_as_slow(data, ports)
    replay = parse_replay(data)
    assert replay.num_frames + replay.num_rollback_rows == copies
    assert replay.num_followers == (nana is not None)


# ---- frames ------------------------------------------------------------------------------------------------------


def _ids(numbers: list[int]) -> bytes:
    rng = np.random.default_rng(7)
    return b.slp(b.NEW, b"".join(b.frame(b.NEW, number, rng, items=1) for number in numbers))


def test_the_last_copy_of_a_frame_counts() -> None:
    again, once = parse_replay(_ids([0, 1, 2, 3, 2, 3, 3, 4])), parse_replay(_ids(list(range(8))))
    assert (again.num_frames, again.num_rollback_rows, again.first_frame_id) == (5, 3, 0)
    for name, values in again.columns.items():
        assert _bits(values) == _bits(once.columns[name][[0, 1, 4, 6, 7]])
    assert again.sparse["items"]["t"].tolist() == [0, 1, 2, 3, 4]
    assert _bits(again.sparse["items"]["x"]) == _bits(once.sparse["items"]["x"][[0, 1, 4, 6, 7]])


def test_holes_are_refused() -> None:
    assert reason(_ids([0, 1, 3, 4])) == "frame_gaps"
    assert reason(_ids([0, 1, 5, 1, 2, 3])) == "frame_gaps"
    assert reason(_ids([0, 2**31 - 1, -(2**31)])) == "frame_gaps"


def test_a_cut_last_frame_is_dropped_and_a_cut_middle_one_refused() -> None:
    rng = np.random.default_rng(3)
    whole = [b.frame(b.NEW, t, rng) for t in range(4)]
    cut = whole[1][: -(9 + 85)]  # without the second post event and the frame end
    assert parse_replay(b.slp(b.NEW, whole[0] + cut)).num_frames == 1
    assert reason(b.slp(b.NEW, whole[0] + cut + whole[2])) == "incomplete_frame"


def test_a_copy_that_was_given_up_after_its_start_does_not_count() -> None:
    rng = np.random.default_rng(3)
    begun = b.event(b.NEW, b.START, f=(1, "i", 2))
    data = b.slp(b.NEW, b"".join([b.frame(b.NEW, 0, rng), begun, b.frame(b.NEW, 1, rng), b.frame(b.NEW, 2, rng)]))
    replay = parse_replay(data)
    assert (replay.num_frames, replay.num_rollback_rows) == (3, 1)
    _assert_same_as_slow(data)


def test_a_second_body_does_not_stand_in_for_the_first() -> None:
    rng = np.random.default_rng(3)
    alone = b"".join(
        b.player_event(b.NEW, code, 1, port, rng, follower=1 - port) for code in (b.PRE, b.POST) for port in (0, 1)
    )
    frames = b.frame(b.NEW, 0, rng, nana=0) + b.event(b.NEW, b.START, f=(1, "i", 1)) + alone
    assert reason(b.slp(b.NEW, frames + b.frame(b.NEW, 2, rng, nana=0))) == "incomplete_frame"
    only = b.event(b.NEW, b.START, f=(1, "i", 1)) + alone
    assert reason(b.slp(b.NEW, only + only)) == "incomplete_frame"


def test_an_event_of_another_frame_is_refused() -> None:
    rng = np.random.default_rng(3)
    wrong = b.frame(b.NEW, 1, rng).replace(struct.pack(">Bi", b.POST, 1), struct.pack(">Bi", b.POST, 9))
    assert reason(b.slp(b.NEW, b.frame(b.NEW, 0, rng) + wrong + b.frame(b.NEW, 2, rng))) == "frame_id_mismatch"


def test_more_or_fewer_than_two_players_have_no_columns() -> None:
    rng = np.random.default_rng(3)
    for ports in ((0, 1, 2, 3), (2,)):
        frames = b"".join(b.frame(b.NEW, t, rng, ports=ports) for t in range(6))
        replay = parse_replay(b.slp(b.NEW, frames, start=b.game_start(b.NEW, ports, teams=(0xD, "B", 1))))
        assert (len(replay.players), replay.num_frames, replay.columns, replay.sparse) == (len(ports), 6, {}, {})
        assert replay.players[0].team == 0


def test_a_player_who_was_not_announced_is_refused() -> None:
    rng = np.random.default_rng(3)
    assert reason(b.slp(b.NEW, b.frame(b.NEW, 0, rng, ports=(0, 1, 5)))) == "unannounced_player"
    assert reason(b.slp(b.NEW, b.frame(b.NEW, 0, rng) + b.frame(b.NEW, 1, rng, ports=(0, 5)) * 2)) != ""


# ---- facts of the game -------------------------------------------------------------------------------------------


def test_game_start_and_end() -> None:
    start = b.game_start(
        b.NEW, (0, 2), items=(0x10, "b", 2), stage=(0x13, "H", 8), pal=(0x1A1, "B", 1),
        k2=(0x66 + 0x48, "B", 1), c2=(0x65 + 0x48, "B", 20), match=(0x2BE, "51s", b"mode.ranked-x"),
        game=(0x2F1, "I", 3),
        name=(0x1A5, "31s", "Mäx".encode("shift_jis", "replace")), code=(0x221, "10s", "AB＃12".encode("shift_jis")),
        tag=(0x161, "16s", "ＴＡＧ".encode("shift_jis")),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    frames = b.frame(b.NEW, -123, rng, ports=(0, 2))
    replay = parse_replay(b.slp(b.NEW, frames, start=start, end=b.game_end(b.NEW, 7, 2)))
    first, second = replay.players
    assert (first.port, first.kind, first.tag, first.code, first.team) == (0, "human", "TAG", "AB#12", None)
    assert (second.port, second.kind, second.character, second.name) == (2, "cpu", 20, "")
    assert (replay.version, replay.stage, replay.items_on, replay.is_pal, replay.scene) == (
        (3, 18, 0),
        8,
        True,
        True,
        (2, 8),
    )
    assert (replay.game_mode, replay.timer_s, replay.seed) == (1, 480, 0xC0FFEE)
    assert (replay.match_id, replay.game_number) == ("mode.ranked-x", 3)
    assert (replay.end_method, replay.quitter, replay.placements) == ("no_contest", 2, (0, 1, -1, -1))


def test_old_versions_lack_what_they_do_not_say() -> None:
    replay = parse_replay(b.plain(3, b.V0_1))
    assert (replay.is_pal, replay.scene, replay.is_frozen_stadium) == (None, None, None)
    assert (replay.match_id, replay.game_number) == ("", None)
    assert (replay.end_method, replay.quitter, replay.placements) == ("game", None, None)


def test_metadata() -> None:
    metadata = {
        "startAt": "2020-07-04T15:49:08", "playedOn": "dolphin", "lastFrame": 5,
        "players": {"1": {"names": {"netplay": "fizz", "code": "FZ#1"}}},
    }  # fmt: skip
    data = b.slp(b.V3_6, b.frame(b.V3_6, -123, np.random.default_rng(0)), metadata=ubjson.dumps(metadata))
    replay = parse_replay(data)
    assert (replay.started_at, replay.platform) == ("2020-07-04T15:49:08", "dolphin")
    assert (replay.players[1].name, replay.players[1].code, replay.players[0].name) == ("fizz", "FZ#1", "")
    for damaged in (ubjson.dumps(metadata)[:-9], b"{}", b"Z", b"{U\x07startAtl\0\0\0\5}", b"\xff"):
        replay = parse_replay(b.slp(b.V3_6, b.frame(b.V3_6, -123, np.random.default_rng(0)), metadata=damaged))
        assert replay.num_frames == 1
        assert replay.started_at in ("", metadata["startAt"])


# ---- bad input ---------------------------------------------------------------------------------------------------


def test_what_is_no_replay_says_what_it_is() -> None:
    for junk in (b"", b"<!DOCTYPE html>", b"\x89PNG\r\n\x1a\n", b"{}", b"{U\x03rax[$U#l\0\0\0\0", b"\x35\x1c\x36\x02"):
        assert reason(junk) == "not_slippi"
    assert reason(b"{U\x03raw[$U#") == "truncated"
    assert reason(b.envelope(b"")) == "truncated"
    assert reason(b.envelope(b"\x36\x01")) == "bad_payload_sizes"
    assert reason(b.envelope(b.table(b.NEW | {0x50: 0}))) == "bad_payload_sizes"
    assert reason(b.envelope(bytes([0x35, 12]) + b"\0" * 11)) == "bad_payload_sizes"
    assert reason(b.envelope(b.table({0x36: 320}))) == "bad_payload_sizes"
    for code in (0x36, b.PRE, b.POST, b.START):
        assert reason(b.plain(3, b.NEW | {code: 3})) == "bad_payload_sizes"
    assert reason(b.slp(b.NEW, end=b"")) == "no_frames"
    assert reason(b.slp(b.NEW, start=b"")) == "no_game_start"
    assert reason(b.slp(b.NEW | {0x36: 100})) == "bad_payload_sizes"
    assert reason(b.slp(start=b.game_start(b.NEW, version=(1, "4s", bytes([3, 7, 0, 1]))))) == "slippc_encoded"
    assert reason(b.slp(b.NEW, b.frame(b.NEW, 0, np.random.default_rng(0)) + b"\x77")) == "unknown_event"


def test_an_unfinished_file_gives_its_whole_frames() -> None:
    data = b.plain(10)
    raw = _raw(data)
    for unfinished in (
        b.envelope(raw[:-7], length=0)[:-1],  # still being written
        b.envelope(raw, length=len(raw) + 1000)[:-8],  # cut
    ):
        replay = parse_replay(unfinished)
        assert (replay.num_frames, replay.end_method) == (10, "none")
    assert parse_replay(b.envelope(raw, ubjson.dumps({"startAt": "x"}), length=0)).started_at == "x"
    assert parse_replay(b.envelope(raw, length=0)[:-1]).end_method == "game"


def test_what_follows_the_end_is_no_part_of_the_game() -> None:
    rng = np.random.default_rng(0)
    tail = b.game_end(b.NEW, 2) + b.game_end(b.NEW, 7) + b"\xff\xff"
    replay = parse_replay(b.slp(b.NEW, b.frame(b.NEW, 0, rng), end=tail))
    assert (replay.num_frames, replay.end_method) == (1, "game")


def test_cut_anywhere_it_ends_in_a_replay_or_a_reason() -> None:
    rng = np.random.default_rng(5)
    data = b.slp(
        b.NEW, b"".join(b.frame(b.NEW, t, rng, items=t % 2) for t in range(4)), metadata=ubjson.dumps({"a": 1})
    )
    seen, before = set(), 0
    for end in range(len(data)):
        try:
            replay = parse_replay(data[:end])
        except ParseError as error:
            seen.add(error.reason)
        else:
            assert replay.num_frames >= before
            before = replay.num_frames
    assert before == 4
    assert seen == {"not_slippi", "truncated"}


_SMALL = b.slp(
    b.NEW, b"".join(b.frame(b.NEW, t, np.random.default_rng(t), items=t % 3) for t in range(12)),
    metadata=ubjson.dumps({"startAt": "2020", "players": {"0": {"names": {"code": "A#1"}}}}),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(_SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_end_in_a_replay_or_a_reason(flips: list[tuple[int, int]]) -> None:
    data = bytearray(_SMALL)
    for at, value in flips:
        data[at] = value
    with suppress(ParseError):
        replay = parse_replay(bytes(data))
        assert replay.num_frames > 0
        assert all(len(values) == replay.num_frames for values in replay.columns.values())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_end_in_a_reason(junk: bytes, enveloped: bool) -> None:
    with suppress(ParseError):
        parse_replay(b.envelope(b.table(b.NEW) + b.game_start(b.NEW) + junk) if enveloped else junk)
