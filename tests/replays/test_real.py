"""Every real replay at hand ends in the verdict that is true of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from real_index import PACKS, index

from worldmodel.replays.filters import apply_filters
from worldmodel.replays.identity import match_fingerprint, match_group
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import ParseError
from worldmodel.replays.source import iter_sources


def _verdict(data: bytes) -> tuple[str, str]:
    try:
        return apply_filters(parse_replay(data)) or ("accepted", "")
    except ParseError as error:
        return error.reason, error.detail


@pytest.mark.replays
def test_all_of_core_ends_in_a_verdict(real_replays: Path) -> None:
    found = {row["name"]: _verdict((real_replays / "core" / row["name"]).read_bytes()) for row in index("core")}
    assert Counter(reason for reason, _ in found.values()) == {
        "accepted": 54, "not_human": 48, "too_short": 37, "not_two_players": 17, "slippc_encoded": 11,
        "not_slippi": 9, "unknown_event": 7, "no_end": 6, "unannounced_player": 5, "bad_payload_sizes": 4,
        "not_four_stocks": 4, "teams": 3, "truncated": 3, "illegal_stage": 3, "incomplete_frame": 2, "odd_mode": 1,
    }  # fmt: skip
    assert all(detail for reason, detail in found.values() if reason != "accepted")


@pytest.mark.replays
def test_clean_games_of_core_are_accepted(real_replays: Path) -> None:
    found = {}
    for row in index("core"):
        data = (real_replays / "core" / row["name"]).read_bytes()
        peppi_cannot_read_it = (3, 0) <= _version(data)[:2] <= (3, 6)
        if peppi_cannot_read_it or row["clean_1v1"] == "True":
            found[row["name"]] = _verdict(data)
    refused = {name.split("_", 1)[1][:18]: reason for name, (reason, detail) in found.items() if reason != "accepted"}
    # Recordings that break off; not one of those that the index calls clean.
    assert refused == {"20200703T232128_-_": "no_end", "20200704T154908_-_": "no_end", "test_game_1.slp": "no_end"}


def _version(data: bytes) -> tuple[int, ...]:
    try:
        return parse_replay(data).version
    except ParseError:
        return (0, 0)


@pytest.mark.replays
@pytest.mark.slow
def test_train_is_accepted_as_the_index_says(real_replays: Path) -> None:
    prints, groups = set(), Counter()
    for row in index("train"):
        replay = parse_replay((real_replays / "train" / row["name"]).read_bytes())
        assert apply_filters(replay) is None, row["name"]
        assert (replay.num_frames, replay.num_rollback_rows) == (int(row["n_unique"]), int(row["dups"]))
        assert "P" + "|P".join(str(player.port + 1) for player in replay.players) == row["ports"]
        assert "|".join(str(player.character) for player in replay.players) == row["char_ext"]
        assert replay.stage == int(row["stage"])
        prints.add(match_fingerprint(replay))
        groups[match_group(replay)] += 1
    assert len(prints) == 250
    assert 2 < len(groups) < 250


@pytest.mark.replays
def test_a_pack_reads_as_its_folder(real_replays: Path) -> None:
    packed = iter_sources([PACKS / "core.7z"])
    for row, item in zip(index("core"), packed, strict=True):
        assert item.name == f"core.7z/{row['name']}"
        if item.problem is None:
            assert len(item.read()) == int(row["size"])
        else:
            assert item.problem == _verdict((real_replays / "core" / row["name"]).read_bytes())
