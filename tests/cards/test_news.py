"""What counts as one changed variable, which run is most comparable, and one card for each variable."""

from __future__ import annotations

import pytest
from mission import NewCard, WriteRun

from worldmodel.cards.ablate import ablate, put_back
from worldmodel.cards.check import check
from worldmodel.cards.data import DataFacts, data_facts
from worldmodel.cards.news import most_comparable, news_against, num_games_of
from worldmodel.cards.view import Places
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile
from worldmodel.runs.ledger import EntryData, result_from_elsewhere
from worldmodel.training.config import Experiment, find_experiment, load_experiment


def tiny(*overrides: str) -> Experiment:
    return load_experiment(find_experiment("tiny"), overrides=overrides)


@pytest.fixture
def data(small_dataset: object) -> DataFacts:
    return data_facts(str(small_dataset))


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ((), (), []),
        ((), ("training.log_every_steps=7", "training.val_windows=9", "data.block_frames=99"), []),
        ((), ("training.lr=1e-3",), ["training.lr"]),
        ((), ("scheduled_sampling={}",), ["scheduled_sampling"]),
        (("scheduled_sampling={}",), (), ["scheduled_sampling"]),
        (("scheduled_sampling={}",), ("scheduled_sampling.rate=0.1",), ["scheduled_sampling.rate"]),
        ((), ("loss_weights.action=3", "loss_weights.jumps=3"), ["loss_weights"]),
        ((), ("data={mode: window}",), ["data.mode"]),
        ((), ("model={arch: mlp}",), ["model.arch"]),
        ((), ("model.d_model=64", "training.seed=1"), ["model.d_model", "training.seed"]),
    ],
)
def test_variables(
    write_run: WriteRun,
    places: Places,
    data: DataFacts,
    before: tuple[str, ...],
    now: tuple[str, ...],
    changed: list[str],
) -> None:
    write_run("before", *before)
    news = news_against(places.ledger().entries[0], tiny(*now), data)
    assert [change.variable for change in news.changes] == changed
    assert (news.warning is not None) == (len(changed) > 1)
    for change in news.changes:
        assert change.back is not None
        undone = put_back(now, change.back)
        assert change.variable not in {
            left.variable for left in news_against(news.entry, tiny(*undone), data).changes
        }, "its overrides undo it"


def test_another_dataset_is_a_variable(write_run: WriteRun, places: Places, data: DataFacts) -> None:
    write_run("before", content_hash="44" * 32)
    (change,) = news_against(places.ledger().entries[0], tiny(), data).changes
    assert (change.variable, change.back) == ("dataset", None)


def test_results_from_elsewhere_are_compared_as_far_as_they_are_known(data: DataFacts) -> None:
    known = {"model.arch": "mamba2", "training.epochs": 2, "data.length": 32}
    entry = result_from_elsewhere("k", source="s", unsaid={"a": 1.0}, data={"name": "2K"}, config=known)
    news = news_against(entry, tiny("scheduled_sampling={}"), data)
    assert [change.variable for change in news.changes] == ["dataset", "data.length"]
    assert news.num_unknown > 10
    assert "scheduled_sampling" not in {change.variable for change in news.changes}, "nobody said that it was off"
    said = entry.model_copy(update={"config": known | {"scheduled_sampling": None}})
    assert "scheduled_sampling" in {c.variable for c in news_against(said, tiny("scheduled_sampling={}"), data).changes}


@pytest.mark.parametrize(
    ("name", "games"), [("2K", 2000), ("22K", 22_000), ("1.5k games", 1500), ("40", 40), ("x", None)]
)
def test_names_of_datasets_tell_their_size(name: str, games: int | None) -> None:
    assert num_games_of(EntryData(name=name)) == games


def test_the_most_comparable_run(write_run: WriteRun, places: Places, data: DataFacts) -> None:
    write_run("other-arch", "model={arch: mlp}", started_at="2026-01-09")
    write_run("far", "model.d_model=64", "training.lr=1", "training.seed=3", started_at="2026-01-08")
    write_run("near", "training.lr=1", started_at="2026-01-02")
    write_run("near-and-newer", "training.lr=2", started_at="2026-01-03")
    write_run("no-result", values={}, started_at="2026-01-07")
    found = [news.entry.name for news in most_comparable(places.ledger().entries, tiny(), data)]
    assert found == ["near-and-newer", "near", "far", "other-arch", "no-result"]


# ---- ablation ----------------------------------------------------------------------------------------------------


def test_a_card_for_each_variable(card: NewCard, write_run: WriteRun) -> None:
    write_run("before", content_hash="44" * 32)
    view = card("training.lr=1e-3", "scheduled_sampling={rate: 0.2}", "loss_weights.jumps=2", "loss_weights.action=1")
    made = ablate(view)
    assert [ablation.change.variable for ablation in made] == [
        "dataset", "training.lr", "loss_weights", "scheduled_sampling"
    ]  # fmt: skip
    assert made[0].path is None
    assert "other dataset" in made[0].why
    for ablation in made[1:]:
        assert ablation.path is not None
        file = CardFile.read(ablation.path)
        report = check(file, view.places)
        assert report.is_good, report
        assert report.view is not None
        left = {change.variable for change in report.view.news[0].changes}
        assert left == {"dataset", "training.lr", "loss_weights", "scheduled_sampling"} - {ablation.change.variable}
        assert file.card.kill == view.file.card.kill
        assert ablation.change.variable in file.card.goal
    again = ablate(view)
    assert [ablation.why for ablation in again[1:]] == ["was there already"] * 3


def test_an_ablation_is_not_signed(card: NewCard, write_run: WriteRun) -> None:
    write_run("before")
    view = card(
        "training.lr=1e-3", "training.seed=5", reviews=[{"by": "A", "verdict": "approve", "hash": "x", "at": "now"}]
    )
    for ablation in ablate(view):
        assert ablation.path is not None
        assert CardFile.read(ablation.path).card.reviews == []


def test_nothing_to_ablate(card: NewCard, write_run: WriteRun) -> None:
    with pytest.raises(WrongUse, match="no earlier run"):
        ablate(card(name="first"))
    write_run("before")
    with pytest.raises(WrongUse, match="1 changed variable"):
        ablate(card("training.lr=1e-3", name="second"))


def test_overrides_are_put_back() -> None:
    overrides = ["training.epochs=3", "scheduled_sampling.rate=0.1", "scheduled_sampling.noise=1", "model.d_model=8"]
    assert put_back(overrides, ["scheduled_sampling=null"]) == [
        "training.epochs=3",
        "model.d_model=8",
        "scheduled_sampling=null",
    ]
    assert put_back(overrides, ["training.epochs=2"])[-1] == "training.epochs=2"
    assert "training.epochs=3" not in put_back(overrides, ["training.epochs=2"])
