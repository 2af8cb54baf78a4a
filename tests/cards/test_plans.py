"""Plans on disk, which one holds for a card, what follows for its table and for lint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from measured import A100, CPU, measured, plan_for, steps
from mission import NewCard, WriteRun

from worldmodel.cards.check import check
from worldmodel.cards.gate import permit
from worldmodel.cards.lint import ask
from worldmodel.cards.new import rendered
from worldmodel.cards.plans import Kept, Memory, Outcome, Pair, add, is_device, read_plans, work_of
from worldmodel.cards.view import Places, View, view_of, work_key
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CardFile
from worldmodel.runs.planned import FILE
from worldmodel.runs.strict import flat
from worldmodel.training.config import find_experiment, load_experiment


def key(*overrides: str, config: str = "tiny") -> str:
    return work_key(load_experiment(find_experiment(config), overrides=overrides))


def again(view: View) -> View:
    """The card as it is on disk, with the plans that there are now."""
    return view_of(CardFile.read(view.file.path), view.places)


def outcome(run: str, ratio: float, plan: str = "x") -> Outcome:
    pair = Pair(estimate=10.0, actual=10.0 * ratio)
    return Outcome(at="t", run=run, plan=plan, ended="finished", step=5, num_steps=5, total_s=pair, epoch_s=pair)


# ---- the file ----------------------------------------------------------------------------------------------------


def test_lines_come_back(card: NewCard, tmp_path: Path) -> None:
    file, plan = tmp_path / "cards" / FILE, plan_for(card())
    add(file, [plan])
    add(file, [outcome("a", 1.0), outcome("b", 2.0)])
    add(file, [outcome("a", 3.0)])
    found = read_plans(file)
    assert found.plans == (plan,)
    assert sorted(found.ratios(None)) == [2.0, 3.0], "the last outcome of a run counts"
    assert read_plans(tmp_path / "none") == type(found)()


def test_a_killed_writer_costs_its_line(card: NewCard, tmp_path: Path) -> None:
    file = tmp_path / FILE
    add(file, [plan_for(card())])
    with file.open("a") as torn:
        torn.write('{"kind":"plan","at":')
    assert len(read_plans(file).plans) == 1
    add(file, [outcome("a", 1.0)])
    assert len(read_plans(file).outcomes) == 1


@pytest.mark.parametrize(
    ("line", "said"), [("no json", "1: the line: Invalid JSON"), ('{"kind":"outcome","run":3}', "1: at: Field")]
)
def test_a_damaged_line_says_where(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    with pytest.raises(WrongUse, match=f"{FILE}:{said}"):
        read_plans(tmp_path / FILE)


def test_ratios_of_the_same_device_come_first(card: NewCard, tmp_path: Path) -> None:
    here, there = plan_for(card()), plan_for(card(name="other"), machine=A100)
    add(tmp_path / FILE, [here, there, outcome("a", 1.5, here.id), outcome("b", 4.0, there.id)])
    found = read_plans(tmp_path / FILE)
    assert found.ratios(None) == [1.5]
    assert found.ratios(A100.gpu) == [4.0]
    assert found.ratios("NVIDIA H100") == [1.5, 4.0], "of another device than any: all that there is"


# ---- which plan holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override",
    ["training.epochs=9", "training.lr=1", "training.val_windows=9", "loss_weights.action=3", "training.seed=4"],
)
def test_what_a_steps_time_does_not_depend_on(override: str) -> None:
    assert key(override) == key()


@pytest.mark.parametrize(
    "override",
    ["training.batch_size=64", "model.d_model=64", "data.length=16", "scheduled_sampling={}", "training.threads=1",
     "training.precision=bf16", "self_forcing={}", "self_forcing={max_frames: 3}", "emphasis={action_change: 2.0}"],
)  # fmt: skip
def test_what_it_depends_on(override: str) -> None:
    assert key(override) != key()


def test_strength_is_no_other_work() -> None:
    assert key("scheduled_sampling={rate: 0.1}") == key("scheduled_sampling={rate: 0.2}")
    assert key("self_forcing={begin: 0.1}") == key("self_forcing={begin: 0.3}")


def test_a_key_that_came_later_with_null_changes_nothing() -> None:
    config = flat(load_experiment(find_experiment("tiny")).model_dump(mode="json"))
    assert work_of(config | {"training.new": None}) == work_of(config)


@pytest.mark.parametrize(
    ("wanted", "gpu", "is_it"),
    [
        ("A100-40GB", "NVIDIA A100-SXM4-40GB", True),
        ("A100-80GB", "NVIDIA A100-SXM4-40GB", False),
        ("A100-80GB", "NVIDIA A100 80GB PCIe", True),
        ("H100", "NVIDIA H100 80GB HBM3", True),
        ("A10", "NVIDIA A100-SXM4-40GB", False),
        ("A10", "NVIDIA A10G", False),
        ("T4", "Tesla T4", True),
        ("A10", None, False),
        (None, None, True),
        (None, "Tesla T4", False),
    ],
)
def test_names_of_devices(wanted: str | None, gpu: str | None, is_it: bool) -> None:
    assert is_device(wanted, gpu) is is_it


def test_the_newest_plan_of_this_work_data_and_device(card: NewCard, places: Places) -> None:
    view = card()
    old, new = plan_for(view), plan_for(view, at="2026-03-01T00:00:00.000+00:00")
    strangers = [
        plan_for(view, at="2026-04-01T00:00:00.000+00:00", **changes)
        for changes in (
            {"work": "0" * 16},
            {"data": {"content_hash": "44" * 32}},
            {"name": "other", "machine": A100},
            {"why_not": "another device", "measured": measured(light=None, heavy=None)},
            {"gpu_meant": "H100"},
        )
    ]
    add(places.cards / FILE, [new, old, *strangers])
    found = again(view)
    assert found.plan == new
    assert found.elsewhere is not None
    other = again(card(name="second"))
    assert other.plan is not None, "another card with the same work has it too"
    assert other.plan.machine == CPU
    assert again(card("training.batch_size=64", name="third")).plan is None


def test_its_own_plan_and_none_from_after_it_began(card: NewCard, places: Places, write_run: WriteRun) -> None:
    view, other = card(), card(name="other")
    mine = plan_for(view, at="2026-02-01T00:00:00.000+00:00")
    theirs = plan_for(other, at="2026-03-01T00:00:00.000+00:00")
    add(places.cards / FILE, [mine, theirs])
    assert again(view).plan == mine, "another card's plan is newer, and not this card's"
    write_run("night", started_at="2026-02-10T00:00:00+00:00")
    rendered(again(view)).write()
    add(places.cards / FILE, [plan_for(view, at="2026-02-20T00:00:00.000+00:00")])
    found = again(view)
    assert found.plan == mine, "what is measured after a run began is not what it was decided by"
    assert check(found.file, places).is_good


# ---- the table ---------------------------------------------------------------------------------------------------


def test_a_plan_stands_over_the_guess_and_makes_the_table_stale(card: NewCard, places: Places) -> None:
    view = card(estimate={"batch_s": 70.0, "source": "x"})
    signed = view.hash
    add(places.cards / FILE, [plan_for(view)])
    stale = check(view.file, places).stale
    assert set(stale) == {"timing", "logging"}
    assert again(view).hash == signed, "a measurement voids no signature"
    rendered(again(view)).write()
    found = again(view)
    assert check(found.file, places).is_good
    table = found.file.document.block("timing")
    for words in (
        "on cpu, 2026-02-01 00:00 UTC",
        "1.0 s (920 ms to 1.1 s), of 3 steps",
        "data and model 2.0 s, first block 3.0 s, first steps 4.0 s, naive models and a first look 16.0 s",
        "10.0 s on 200 windows, measured on 100 of them",
        "1.0 MB; training waits 500 ms",
        "1.0 GB of 10.0 GB",
        "no earlier plan to go by, so up to the card's factor of 5",
    ):
        assert words in table, words
    assert "70000 ms" not in table
    add(places.cards / FILE, [outcome("a", 3.0)])
    assert check(again(view).file, places).is_good, "what is learned later does not change what was said then"


def test_more_epochs_ask_for_no_new_plan_and_another_batch_does(card: NewCard, places: Places) -> None:
    view = card()
    add(places.cards / FILE, [plan_for(view)])
    rendered(again(view)).write()
    text = view.file.path.read_text()
    assert "~5 min" in again(view).file.document.block("timing")
    view.file.path.write_text(text.replace("overrides: []", "overrides: [training.epochs=8]"))
    longer = again(view)
    assert longer.plan is not None
    assert "timing" in check(longer.file, places).stale
    view.file.path.write_text(text.replace("overrides: []", "overrides: [training.batch_size=64]"))
    other = again(view)
    assert other.plan is None
    assert "Not measured yet" in rendered(other).block("timing")


def test_a_plan_of_another_device_gives_no_time(card: NewCard, places: Places) -> None:
    view = card(backend={"name": "modal", "gpu": "H100"})
    parts = measured(light=None, heavy=None, validation=None)
    add(places.cards / FILE, [plan_for(view, measured=parts, why_not="the card's is H100, this is a cpu")])
    found = again(view)
    assert (found.plan, found.timing) == (None, None)
    table = rendered(found).block("timing")
    assert "has no step times for it (the card's is H100, this is a cpu); a checkpoint has 1.0 MB" in table


# ---- lint --------------------------------------------------------------------------------------------------------

MODAL = {"name": "modal", "gpu": "A100-40GB", "usd_per_hour": 2.0}
# "tiny" on the small dataset: 316 steps of 1 s, and about 40 s besides. Five times that is 30 min.
CASES: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    # question, severity, words, front matter, what was measured
    ("estimate", "ok", "every part is measured on cpu", {}, {}),
    ("time_limit", "blocker", "the plan is ", {"backend": {"name": "local", "timeout_s": 300}}, {}),
    ("time_limit", "warning", "goes up to ", {"backend": {"name": "local", "timeout_s": 900}}, {}),
    ("time_limit", "warning", "4 attempt(s)", {"backend": {"name": "local", "timeout_s": 700, "retries": 3}}, {}),
    ("time_limit", "ok", "above the plan's upper end", {"backend": {"name": "local", "timeout_s": 4000}}, {}),
    ("saving", "ok", "on the disk after 2 s", {}, {}),
    ("saving", "warning", "waits 40.0 s", {}, {"checkpoint": Kept(num_bytes=1, stall_s=40, write_s=50, read_s=1)}),
    ("saving", "blocker", "11 min 40 s", {}, {"checkpoint": Kept(num_bytes=1, stall_s=1, write_s=700, read_s=1)}),
    ("longest_loss", "warning", "(and 60.0 s until it is on the disk)", {"checkpoints": {"every_min": 30}},
     {"checkpoint": Kept(num_bytes=1, stall_s=1, write_s=60, read_s=1)}),
    ("room_on_disk", "ok", "checkpoints of 1.0 MB, as measured,", {}, {}),
    ("room_on_disk", "blocker", "free", {}, {"checkpoint": Kept(num_bytes=10**18, stall_s=1, write_s=1, read_s=1)}),
    ("room_on_disk", "blocker", "free there when it was planned", {"backend": MODAL}, {"disk_free": 10}),
    ("room_in_memory", "ok", "1.0 GB at the most, of 10.0 GB (10%)", {}, {}),
    ("room_in_memory", "warning", "(91%)", {}, {"memory": Memory(host=10**10, host_room=11 * 10**9, reported=1)}),
    ("room_in_memory", "blocker", "of 500.0 MB", {"backend": {"name": "local", "memory_gb": 0.5}}, {}),
    ("room_in_memory", "blocker", "the device holds 41.0 GB", {"backend": MODAL},
     {"memory": Memory(host=1, host_room=9, reported=1, device=41 * 10**9, device_room=40 * 10**9)}),
    ("budget", "blocker", "the budget is $0.1", {"backend": MODAL, "budget": {"usd": 0.1}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("question", "severity", "words", "front", "parts"), CASES)
def test_lint_goes_by_the_plan(
    card: NewCard,
    places: Places,
    question: str,
    severity: str,
    words: str,
    front: dict[str, Any],
    parts: dict[str, Any],
) -> None:
    view = card(**front)
    machine = A100 if front.get("backend") == MODAL else CPU
    add(places.cards / FILE, [plan_for(view, measured=measured(**parts), machine=machine)])
    found = ask(again(view), [question])
    assert found[0].severity == severity, found
    assert words in found[0].message, found


def test_a_busy_machine_is_no_measure(card: NewCard, places: Places) -> None:
    view = card()
    add(places.cards / FILE, [plan_for(view, machine=CPU.model_copy(update={"load": 3.2}))])
    (finding,) = ask(again(view), ["estimate"])
    assert (finding.severity, "while others were at work (load 3.2 a core)" in finding.message) == ("warning", True)


def test_without_a_review_the_plans_upper_end_is_what_it_may_cost(card: NewCard, places: Places) -> None:
    front = {"reviewers": {"needed": False, "cost_limit_usd": 0.5}, "backend": {"name": "local", "usd_per_hour": 2.0}}
    view = card(**front)
    add(places.cards / FILE, [plan_for(view)])
    rendered(again(view)).write()
    with pytest.raises(WrongUse, match=r"pessimistically \$1\.\d\d; without a review it is \$0\.5"):
        permit(again(view))
    heavy = steps(0.1, 0.1, 0.1)
    quick = measured(light=heavy, heavy=heavy)
    add(places.cards / FILE, [plan_for(view, at="2026-03-01T00:00:00.000+00:00", measured=quick)])
    rendered(again(view)).write()
    permit(again(view))
