"""The key of a match does not depend on who recorded it; the key of a set holds its games together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slp_bytes as b

from worldmodel.replays import ubjson
from worldmodel.replays.identity import match_fingerprint, match_group
from worldmodel.replays.parse import parse_replay
from worldmodel.replays.replay import Replay


def _recording(
    names: tuple[str, str], day: str, rollbacks: tuple[int, ...], *, seed: int = 1, frames: int = 40
) -> Replay:
    """One side's recording: its own names, metadata, rollbacks; the last copies are the match's."""
    rng = np.random.default_rng(99)
    true = [b.frame(b.NEW, t - 123, np.random.default_rng((seed, t))) for t in range(frames)]
    stream = []
    for t, events in enumerate(true):
        if t in rollbacks:
            stream.append(b.frame(b.NEW, t - 123, rng))  # what it believed first
        stream.append(events)
    start = b.game_start(b.NEW, n0=(0x221, "10s", names[0].encode()), n1=(0x22B, "10s", names[1].encode()))
    metadata = ubjson.dumps({"startAt": day, "playedOn": names[0]})
    return parse_replay(b.slp(b.NEW, b"".join(stream), start=start, metadata=metadata))


def test_both_sides_recordings_have_one_fingerprint() -> None:
    mine = _recording(("A#1", "B#2"), "2020-07-04T15:49:08Z", (5, 9))
    theirs = _recording(("", ""), "2020-07-05T00:49:11+09:00", (20, 21, 22))
    assert mine.num_rollback_rows != theirs.num_rollback_rows
    assert match_fingerprint(mine) == match_fingerprint(theirs)


def test_another_match_has_another_fingerprint() -> None:
    mine = _recording(("A#1", "B#2"), "", ())
    prints = {match_fingerprint(mine), match_fingerprint(_recording(("A#1", "B#2"), "", (), seed=2))}
    for change in ({"seed": 7}, {"stage": 8}):
        other = _recording(("A#1", "B#2"), "", ())
        for name, value in change.items():
            setattr(other, name, value)
        prints.add(match_fingerprint(other))
    swapped = _recording(("A#1", "B#2"), "", ())
    swapped.players = (replace(swapped.players[0], character=9), swapped.players[1])
    prints.add(match_fingerprint(swapped))
    assert len(prints) == 5


def test_a_later_difference_does_not_matter() -> None:
    long, cut = _recording(("A", "B"), "", (), frames=700), _recording(("A", "B"), "", (), frames=650)
    assert match_fingerprint(long) == match_fingerprint(cut)


def test_group_is_the_match_id_where_there_is_one() -> None:
    replay = _recording(("A#1", "B#2"), "2020-07-04T15:49:08Z", ())
    replay.match_id = "mode.unranked-2022-x-0"
    assert match_group(replay) == "match:mode.unranked-2022-x-0"


def test_group_is_players_and_day_else() -> None:
    one = match_group(_recording(("A#1", "B#2"), "2020-07-04T15:49:08Z", ()))
    assert one == "day:2020-07-04|A#1|B#2"
    assert match_group(_recording(("B#2", "A#1"), "2020-07-05T00:30:00+09:00", (), seed=3)) == one
    assert match_group(_recording(("A#1", "B#2"), "2020-07-05T15:49:08Z", ())) != one
    assert match_group(_recording(("", ""), "2020-07-04T15:49:08", ())) == "day:2020-07-04|character 2|character 2"


def test_a_game_without_a_day_is_its_own_group() -> None:
    for day in ("", "yesterday"):
        one, two = _recording(("A#1", "B#2"), day, ()), _recording(("A#1", "B#2"), day, (), seed=2)
        assert match_group(one).startswith("alone:")
        assert match_group(one) != match_group(two)
