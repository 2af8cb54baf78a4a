"""Metrics on frames small enough to count by hand."""

from __future__ import annotations

import pytest
import torch

from worldmodel.evaluation.metrics import FRAME_METRICS, METRIC_AT, METRICS, Sums, frame_terms, ratio
from worldmodel.nn.frames import Context, State
from worldmodel.schema import LAYOUT, Flags

X, Y = LAYOUT.number("position_x"), LAYOUT.number("position_y")
ACTION_STATE = LAYOUT.category("action_state")


def still(num_b: int, num_t: int) -> State:
    """Frames of zeros."""
    return State(
        torch.zeros(num_b, num_t, 2, len(LAYOUT.numbers)),
        torch.zeros(num_b, num_t, 2, len(LAYOUT.categories), dtype=torch.int64),
        torch.zeros(num_b, num_t, 2, len(LAYOUT.flag_bits), dtype=torch.bool),
    )


def everything(num_b: int) -> Context:
    return Context(
        torch.zeros(num_b, dtype=torch.int64),
        *(
            torch.ones(num_b, n, dtype=torch.bool)
            for n in (len(LAYOUT.numbers), len(LAYOUT.categories), len(LAYOUT.flag_bits))
        ),
    )


def overall(
    decoded: State, previous: State, target: State, context: Context, scored: torch.Tensor | None = None
) -> dict[str, float | None]:
    num_b = target.numbers.shape[0]
    sums = Sums.zeros(num_b, "cpu")
    sums.add_frames(frame_terms(decoded, previous, target, context), torch.arange(num_b), scored_BT=scored)
    return sums.numpy().overall()


def test_golden() -> None:
    """Two frames, two players; every number below is counted by hand."""
    previous, target, decoded = still(1, 2), still(1, 2), still(1, 2)
    # p0 changes its action state in frame 0 and is predicted; p1 changes in frames 0 and 1 and is missed once.
    target.categories[0, 0, 0, ACTION_STATE] = decoded.categories[0, 0, 0, ACTION_STATE] = 24
    target.categories[0, 0, 1, ACTION_STATE] = decoded.categories[0, 0, 1, ACTION_STATE] = 20
    target.categories[0, 1, 1, ACTION_STATE] = 21
    # p0 is off by (3, 4) in frame 1, p1 by 1 in x in frame 0.
    decoded.numbers[0, 1, 0, X], decoded.numbers[0, 1, 0, Y] = 3.0, -4.0
    target.numbers[0, 0, 1, X] = 1.0
    decoded.numbers[0, 0, 0, LAYOUT.number("percent")] = 2.0
    decoded.numbers[0, 0, 0, LAYOUT.number("velocity_x")] = 0.5
    target.numbers[0, 1, 0, LAYOUT.number("stocks")] = 3.0
    target.flags[0, 0, 0, LAYOUT.flag("facing")] = True
    target.flags[0, 1, 0, LAYOUT.flag("facing")] = decoded.flags[0, 1, 0, LAYOUT.flag("facing")] = True

    found = overall(decoded, previous, target, everything(1))

    percent, stocks = LAYOUT.the("percent").name, LAYOUT.the("stocks").name
    facing, action_state = LAYOUT.the("facing").name, LAYOUT.the("action_state").name
    assert found["change_acc"] == pytest.approx(2 / 3)
    assert found[f"{action_state}_acc"] == pytest.approx(3 / 4)
    assert found["pos_mae"] == pytest.approx((3 + 4 + 1) / 8)
    assert found["pos_distance"] == pytest.approx((5 + 1) / 4)
    assert found[f"{percent}_mae"] == pytest.approx(2 / 4)
    assert found["velocity_mae"] == pytest.approx(0.5 / (4 * len(LAYOUT.with_role("velocity"))))
    assert found[f"{stocks}_acc"] == pytest.approx(3 / 4)
    assert found[f"{facing}_acc"] == pytest.approx(3 / 4)
    assert found[f"{facing}_change_acc"] == pytest.approx(1 / 2)
    assert found["exact"] == pytest.approx(0.0)
    assert found["loss/total"] is None  # nothing was added


def test_exact_allows_a_hundredth_and_no_more() -> None:
    previous, target, decoded = still(1, 4), still(1, 4), still(1, 4)
    decoded.numbers[0, 0, 0, X] = 0.0099
    decoded.numbers[0, 1, 0, X] = 0.0101
    decoded.categories[0, 2, 1, 0] = 1
    decoded.flags[0, 3, 1, 0] = True
    assert overall(decoded, previous, target, everything(1))["exact"] == pytest.approx(5 / 8)


def test_what_a_replay_lacks_counts_in_no_metric() -> None:
    """Two games, one without the percent; its (zero) percent must not flatter the error of the other."""
    previous, target, decoded = still(2, 1), still(2, 1), still(2, 1)
    at = LAYOUT.number("percent")
    decoded.numbers[0, 0, :, at] = 4.0
    context = everything(2)
    context.present_numbers[1, at] = False
    sums = Sums.zeros(2, "cpu")
    sums.add_frames(frame_terms(decoded, previous, target, context), torch.arange(2))
    name = f"{LAYOUT.the('percent').name}_mae"
    assert sums.numpy().overall()[name] == pytest.approx(4.0)
    assert sums.denominator[1, :, METRIC_AT[name]].tolist() == [0.0, 0.0]
    # A player is exact if all that the replay has is right.
    assert sums.numerator[1, :, METRIC_AT["exact"]].tolist() == [1.0, 1.0]


def test_a_position_of_which_half_is_missing_has_no_distance() -> None:
    context = everything(1)
    context.present_numbers[0, X] = False
    found = overall(still(1, 3), still(1, 3), still(1, 3), context)
    assert found["pos_distance"] is None
    assert found["pos_mae"] == 0.0


def test_unscored_frames_do_not_count() -> None:
    previous, target, decoded = still(2, 3), still(2, 3), still(2, 3)
    decoded.numbers[..., X] = torch.tensor([100.0, 1.0, 2.0])[None, :, None]
    scored = torch.tensor([[False, True, True], [False, False, True]])
    assert overall(decoded, previous, target, everything(2), scored)["pos_mae"] == pytest.approx((1 + 2 + 2) / 6)


def test_a_number_that_is_none_spoils_its_own_metric_only() -> None:
    decoded = still(1, 2)
    decoded.numbers[0, 0, 0, X] = torch.nan
    found = overall(decoded, still(1, 2), still(1, 2), everything(1))
    assert found["pos_mae"] is None
    assert found["velocity_mae"] == 0.0
    assert found["exact"] == pytest.approx(3 / 4)


def test_both_players_count_alike() -> None:
    """Swapping the ports changes no metric."""
    generator = torch.Generator().manual_seed(0)

    def random() -> State:
        base = still(3, 5)
        return State(
            torch.randn(base.numbers.shape, generator=generator),
            torch.randint(0, 3, base.categories.shape, generator=generator),
            torch.rand(base.flags.shape, generator=generator) < 0.5,
        )

    def swapped(state: State) -> State:
        return state.map(lambda tensor: tensor.flip(2))

    decoded, previous, target = random(), random(), random()
    one = overall(decoded, previous, target, everything(3))
    other = overall(swapped(decoded), swapped(previous), swapped(target), everything(3))
    assert set(one) == set(other)
    for name, value in one.items():
        assert value == pytest.approx(other[name])


def test_every_field_of_the_schema_has_a_metric() -> None:
    """A wrong value of any predicted field lowers some metric besides `exact`."""
    perfect = overall(still(1, 1), still(1, 1), still(1, 1), everything(1))

    def differs(decoded: State) -> bool:
        found = overall(decoded, still(1, 1), still(1, 1), everything(1))
        return any(found[m.name] != perfect[m.name] for m in FRAME_METRICS if m.name != "exact")

    for k in range(len(LAYOUT.numbers)):
        decoded = still(1, 1)
        decoded.numbers[0, 0, 1, k] = 1.0
        assert differs(decoded), LAYOUT.numbers[k].name
    for k, row in enumerate(LAYOUT.categories):
        decoded = still(1, 1)
        decoded.categories[0, 0, 1, k] = 1
        assert differs(decoded) is row.codec.predicted, row.name  # type: ignore[union-attr]
    for k, flag in enumerate(LAYOUT.flag_bits):
        decoded = still(1, 1)
        decoded.flags[0, 0, 1, k] = True
        assert differs(decoded), flag.name


def test_the_table_is_complete_and_its_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {"change_acc", "pos_mae", "loss/total"} <= set(METRIC_AT)
    assert all(metric.unit and metric.definition for metric in METRICS)
    assert {f"loss/{group}" for group in LAYOUT.loss_groups} <= set(METRIC_AT)
    assert any(isinstance(row.codec, Flags) for row in LAYOUT.rows)


def test_ratio_never_gives_a_number_that_is_none() -> None:
    assert ratio(1.0, 2.0) == 0.5
    assert ratio(0.0, 0.0) is None
    assert ratio(float("nan"), 3.0) is None
    assert ratio(float("inf"), 3.0) is None


def test_losses_are_booked_in_halves() -> None:
    sums = Sums.zeros(2, "cpu")
    slots = torch.tensor([1, 1, 0])
    sums.add_losses({"total": (torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 2.0, 2.0]))}, slots)
    at = METRIC_AT["loss/total"]
    assert sums.numerator[..., at].tolist() == [[2.5, 2.5], [1.5, 1.5]]
    assert sums.numpy().overall()["loss/total"] == pytest.approx(8 / 6)


def test_missing_denominators_are_none_not_zero() -> None:
    """No action state changes: change_acc is unknown, not 0."""
    found = overall(still(1, 2), still(1, 2), still(1, 2), everything(1))
    assert found["change_acc"] is None
