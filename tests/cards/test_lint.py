"""Every question has a card that it objects to, and one that it does not."""

from __future__ import annotations

from typing import Any

import pytest
from mission import NewCard, WriteRun

from worldmodel.cards import ask_cost
from worldmodel.cards.lint import lint
from worldmodel.cards.questions import ORDER, QUESTIONS
from worldmodel.cards.view import View, view_of
from worldmodel.runs.card import new_review
from worldmodel.runs.provenance import CodeVersion

MODAL = {"name": "modal", "gpu": "A100-40GB", "timeout_s": 86400, "usd_per_hour": 2.0}
SLOW = {"batch_s": 70.0, "source": "x"}  # 316 steps of "tiny" on the small dataset: 6.1 h, $12.3; five times 30.7 h
ABOVE = {"rule": "above", "metric": "val_pos_mae", "threshold": 1}

CASES: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    # question, gravest severity, front matter, overrides
    ("checkpoints_outlive_the_machine", "blocker", {"backend": MODAL, "checkpoints": {"publish": False}}, ()),
    ("checkpoints_outlive_the_machine", "ok", {"backend": MODAL}, ()),  # a new card publishes where it must
    ("checkpoints_outlive_the_machine", "ok", {"backend": {"name": "slurm"}}, ()),
    ("checkpoints_outlive_the_machine", "ok", {}, ()),
    ("longest_loss", "warning", {"checkpoints": {"every_min": 45}}, ()),
    ("longest_loss", "warning", {"estimate": {"batch_s": 0.001, "source": "x"}}, ()),
    ("longest_loss", "ok", {"estimate": SLOW}, ()),
    ("time_limit", "warning", {"backend": {"name": "modal"}}, ()),
    ("time_limit", "note", {}, ()),
    ("time_limit", "not measured", {"backend": {"name": "local", "timeout_s": 10}}, ("training.batch_size=64",)),
    ("time_limit", "blocker", {"backend": MODAL | {"timeout_s": 3600, "retries": 1}, "estimate": SLOW}, ()),
    ("time_limit", "warning", {"backend": MODAL, "estimate": SLOW}, ()),
    ("time_limit", "ok", {"backend": MODAL | {"retries": 1}, "estimate": SLOW}, ()),
    ("somebody_watches", "warning", {}, ()),
    ("somebody_watches", "warning", {"watched_by": ["watcher"], "kill": []}, ()),
    ("somebody_watches", "ok", {"watched_by": ["watcher"]}, ()),
    ("somebody_watches", "ok", {"watched_by": ["Mattie"], "kill": []}, ()),
    ("rules_end_it", "warning", {"kill": []}, ()),
    ("rules_end_it", "warning", {"backend": MODAL}, ()),
    ("rules_end_it", "ok", {"backend": MODAL, "kill": [{"rule": "non_finite"}, {"rule": "over_budget"}]}, ()),
    ("rules_can_speak", "blocker", {"kill": [ABOVE | {"after_epochs": 9}]}, ()),
    ("rules_can_speak", "blocker", {"kill": [ABOVE | {"after_epochs": 1}]}, ("training.val_windows=0",)),
    ("rules_can_speak", "warning", {"kill": [ABOVE]}, ()),
    ("rules_can_speak", "", {"kill": [ABOVE | {"after_epochs": 1}]}, ()),
    (
        "rules_can_speak",
        "warning",
        {"kill": [{"rule": "not_decreasing", "metric": "val_loss/total", "after_epochs": 0.5}]},
        (),
    ),
    ("rules_can_speak", "", {"kill": [{"rule": "not_decreasing", "metric": "loss/total", "after_epochs": 0.05}]}, ()),
    ("fallback", "warning", {}, ()),
    ("fallback", "blocker", {"fallback": {"card": "night"}}, ()),
    ("fallback", "blocker", {"fallback": {"card": "none"}}, ()),
    ("fallback", "ok", {"fallback": {"card": "other"}}, ()),
    ("resume", "not measured", {}, ("model={arch: mlp}",)),
    ("resume", "ok", {}, ()),
    ("epochs", "note", {}, ()),
    ("one_variable", "ok", {}, ("training.lr=1",)),
    ("one_variable", "warning", {}, ("training.lr=1", "training.seed=1")),
    ("one_variable", "warning", {"baselines": []}, ()),
    ("targets", "warning", {}, ()),
    ("targets", "ok", {"targets": [{"metric": "val_exact", "better": "higher", "target": 0.5}]}, ()),
    (
        "targets",
        "blocker",
        {"targets": [{"metric": "val_exact", "better": "higher", "target": 0.5}]},
        ("training.val_windows=0",),
    ),
    ("noise_reaches_its_value", "", {}, ()),
    ("noise_reaches_its_value", "warning", {}, ("scheduled_sampling={}", "training.epochs=3")),
    ("noise_reaches_its_value", "warning", {}, ("scheduled_sampling={}", "training.epochs=1")),
    ("noise_reaches_its_value", "note", {}, ("scheduled_sampling={}", "training.epochs=4")),
    ("noise_mask", "", {}, ()),
    ("noise_mask", "ok", {}, ("scheduled_sampling={}",)),
    ("split", "ok", {}, ()),
    ("estimate", "not measured", {"estimate": None}, ("training.batch_size=64",)),
    ("estimate", "warning", {"estimate": SLOW}, ()),
    ("estimate", "ok", {"estimate": SLOW | {"measured": True}}, ()),
    ("budget", "", {}, ("training.batch_size=64",)),
    ("budget", "not measured", {"budget": {"usd": 5}}, ()),
    ("budget", "warning", {"backend": MODAL, "estimate": SLOW}, ()),
    ("budget", "blocker", {"backend": MODAL, "estimate": SLOW, "budget": {"usd": 10}}, ()),
    ("budget", "warning", {"backend": MODAL, "estimate": SLOW, "budget": {"usd": 20}}, ()),
    (
        "budget",
        "ok",
        {"backend": MODAL, "estimate": SLOW, "budget": {"usd": 20}, "kill": [{"rule": "over_budget"}]},
        (),
    ),
    ("budget", "ok", {"backend": MODAL, "estimate": SLOW, "budget": {"usd": 80}}, ()),
    ("room_on_disk", "not measured", {"backend": MODAL}, ()),
    ("room_on_disk", "ok", {}, ()),
    ("room_on_disk", "blocker", {}, ("training.keep_last=1000000000",)),
    ("room_in_memory", "not measured", {}, ()),
    ("saving", "not measured", {}, ()),
    ("tracker", "ok", {}, ()),
    ("tracker", "warning", {"backend": MODAL, "tracker": {"policy": "optional"}}, ()),
    ("tracker", "not measured", {"backend": MODAL, "tracker": {"policy": "required"}}, ()),
    ("reviews", "blocker", {}, ()),
    ("reviews", "not measured", {"reviewers": {"needed": False, "cost_limit_usd": 1}}, ()),
    (
        "reviews",
        "blocker",
        {"reviewers": {"needed": False, "cost_limit_usd": 50}, "backend": MODAL, "estimate": SLOW},
        (),
    ),
    ("reviews", "ok", {"reviewers": {"needed": False, "cost_limit_usd": 70}, "backend": MODAL, "estimate": SLOW}, ()),
]


def answers(view: View, question: str) -> list[tuple[str, str]]:
    return [(finding.severity, finding.message) for finding in lint(view) if finding.question == question]


@pytest.mark.parametrize(("question", "severity", "front", "overrides"), CASES)
def test_answers(
    card: NewCard,
    write_run: WriteRun,
    question: str,
    severity: str,
    front: dict[str, Any],
    overrides: tuple[str, ...],
) -> None:
    touched = {"event": "disturbed", "step": 3, "numbers": ["percent", "x"]}
    write_run("before", events=({"event": "resumed", "step": 5}, touched))
    write_run("noisy", "scheduled_sampling={}", events=(touched,), started_at="2025-01-01")
    if front.get("fallback") == {"card": "other"}:
        card(name="other")
    front = {"baselines": ["before"]} | front
    found = answers(card(*overrides, **front), question)
    assert (found[0][0] if found else "") == severity, found


def test_every_question_is_tested() -> None:
    assert set(QUESTIONS) == {question for question, *_ in CASES} | {"code"}


def test_noise_on_what_must_not_be_touched_is_a_blocker(card: NewCard, write_run: WriteRun) -> None:
    touched = {"event": "disturbed", "step": 3, "numbers": ["percent", "stocks"]}
    write_run("before", "scheduled_sampling={}", events=(touched,))
    ((severity, message),) = answers(card("scheduled_sampling={}"), "noise_mask")
    assert severity == "blocker"
    assert "before noise touched stocks" in message


def test_what_has_no_evidence_is_not_measured(card: NewCard) -> None:
    assert answers(card("scheduled_sampling={}"), "noise_mask")[0][0] == "not measured"


def test_a_signed_card_may_go(card: NewCard) -> None:
    view = card()
    for verdict, severity in (("block", "blocker"), ("approve", "ok")):
        review = new_review(by="Fae", verdict=verdict, comment="because", hash=view.hash)  # type: ignore[arg-type]
        signed = view_of(view.file.with_review(review), view.places)
        assert answers(signed, "reviews")[0][0] == severity


def test_code(card: NewCard, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run("before")
    view = card()
    for version, severities in (
        (CodeVersion("1", "0123456789abcdef", ""), ["ok"]),
        (CodeVersion("1", "fedcba", ""), ["note", "ok"]),
        (CodeVersion("1", "0123456789abcdef", "+x"), ["warning"]),
        (CodeVersion("1", None, ""), ["note", "note"]),
    ):
        monkeypatch.setattr(ask_cost, "code_version", lambda version=version: version)
        assert [severity for severity, _ in answers(view, "code")] == severities


def test_the_gravest_comes_first(card: NewCard) -> None:
    severities = [ORDER.index(finding.severity) for finding in lint(card(backend=MODAL))]
    assert severities == sorted(severities)
