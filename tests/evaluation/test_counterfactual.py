"""Forked futures: a model that knows both is right in all of them, and one that ignores pads predicts no difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_games import naive

from worldmodel.evaluation import counterfactual
from worldmodel.evaluation.counterfactual import MEASURES, _tensors, _terms
from worldmodel.nn.frames import State
from worldmodel.replays.synth import forks as room
from worldmodel.replays.synth.forks import forks
from worldmodel.schema import LAYOUT

NAMES = [measure.name for measure in MEASURES]


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments soon after the beginning: the later they are, the longer every game is played."""
    monkeypatch.setattr(room, "SPREAD_FRAMES", 60)


def test_baselines_ignore_the_pads() -> None:
    """Their error of the difference is the true difference, without direction or size."""
    models = {"model": naive("ballistic"), "copy_last": naive("copy_last")}
    ledger = counterfactual.evaluate(models, num_forks=6, history=5, earliest=130, seed=0, horizon=12)
    assert len(ledger.games) == 6
    found = counterfactual.as_json(ledger.numbers(seed=0), num_forks=6, seed=0, horizon=12)
    model, copy = (found["models"][name] for name in ("model", "copy_last"))
    assert model["difference"] == copy["difference"]
    assert set(model["size"]["value"]) <= {0.0, None}
    assert {value for value in model["direction"]["value"] if value is not None} == {0.0}
    assert model["difference"]["value"][-1] > model["difference"]["value"][0]
    assert model["played"]["value"] != copy["played"]["value"]
    assert set(found["differences"]) == {"copy_last"}


def test_the_same_seed_gives_the_same_forks_and_another_gives_others() -> None:
    def games(seed: int) -> tuple[str, ...]:
        return counterfactual.evaluate(
            {"model": naive("copy_last")}, num_forks=3, history=0, earliest=130, seed=seed, horizon=1
        ).games

    assert games(0) == games(0) != games(1)


def states_of(x: np.ndarray, action: int = 0) -> State:
    """(S,T,2) positions along x as states."""
    numbers = torch.zeros(*x.shape, len(LAYOUT.numbers))
    numbers[..., LAYOUT.number("position_x")] = torch.from_numpy(x).float()
    categories = torch.zeros(*x.shape, len(LAYOUT.categories), dtype=torch.int64)
    categories[..., LAYOUT.category("action_state")] = action
    return State(numbers, categories, torch.zeros(*x.shape, len(LAYOUT.flag_bits), dtype=torch.bool))


def value(terms: np.ndarray, name: str) -> float:
    at = NAMES.index(name)
    return float(terms[0, ..., at].sum() / terms[1, ..., at].sum())


def test_terms_by_hand() -> None:
    """The first player's pads change: in truth he goes 8 to the right. The dream starts 3 off and goes 6."""
    played, changed = np.zeros((1, 1, 2)), np.array([[[8.0, 0.0]]])
    dreamed = np.array([[[3.0, 0.0]]]), np.array([[[9.0, 0.0]]])
    truth = states_of(played), states_of(changed, action=5)
    dreams = states_of(dreamed[0]), states_of(dreamed[1], action=5)
    terms = _terms(dreams, truth, np.array([0]))
    assert value(terms, "played") == pytest.approx(1.5)  # 3 of one player, 0 of the other
    assert value(terms, "changed") == pytest.approx(0.5)
    assert value(terms, "difference") == pytest.approx(2.0)
    assert value(terms, "direction") == pytest.approx(1.0)
    assert value(terms, "size") == pytest.approx(0.75)
    assert value(terms, "state") == 1.0
    wrong_way = _terms((dreams[0], states_of(np.array([[[-3.0, 0.0]]]))), truth, np.array([0]))
    assert value(wrong_way, "direction") == pytest.approx(-1.0)
    assert value(wrong_way, "state") == 0.0
    # Of the other player, nothing differed in truth: direction and states are not asked for.
    other = _terms(dreams, truth, np.array([1]))
    assert other[1, ..., NAMES.index("direction")].sum() == 0


def test_models_see_forks_as_replays() -> None:
    """Both futures share the history and differ in the pads of one player after it."""
    found = list(forks(3, 4, earliest=130, before=6, after=5))
    (played, pads, context), (changed, others, _) = (_tensors(found, which, "cpu") for which in ("played", "changed"))
    assert played.numbers.shape[:3] == (4, 12, 2)
    assert context.present_numbers.all()
    torch.testing.assert_close(played.numbers[:, :7], changed.numbers[:, :7], rtol=0, atol=0)
    for row, fork in enumerate(found):
        torch.testing.assert_close(pads.numbers[row, :, 1 - fork.player], others.numbers[row, :, 1 - fork.player])
    assert not torch.equal(pads.numbers[:, 7:], others.numbers[:, 7:])
    torch.testing.assert_close(pads.numbers[:, :7], others.numbers[:, :7], rtol=0, atol=0)
