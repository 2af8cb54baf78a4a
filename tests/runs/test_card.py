"""The card's keys, its hash, and what signatures are worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldmodel.errors import WrongUse
from worldmodel.runs.card import Card, CardFile, Review, find_card, new_review, resolved_hash, sign_off
from worldmodel.runs.document import Document
from worldmodel.runs.strict import ConfigError

FRONT = """\
---
run: night
goal: learn        # by morning
config: tiny
overrides: [training.epochs=3]
data: {content_hash: "%s", path: /data/a}
targets:
  - {metric: val_change_acc, better: higher, baseline: 0.684, target: 0.75}
kill:
  - {rule: below, metric: val_change_acc, threshold: 0.60, after_epochs: 1}
  - {rule: non_finite}
reviewers: {required: [Scav, Fae]}
---
Prose.
""" % ("ab" * 32)  # fmt: skip

EXPERIMENT = {"training": {"epochs": 3}}


def card_of(text: str = FRONT, name: str = "night.md") -> CardFile:
    return CardFile.of(Document.parse(text, Path(name)))


def hash_of(text: str = FRONT, **experiment: object) -> str:
    return resolved_hash(card_of(text).card, EXPERIMENT | experiment)


def test_a_card_is_read_with_its_rules_arguments() -> None:
    card = card_of().card
    assert card.kill[0].rule == "below"
    assert card.kill[0].label == "below val_change_acc 0.6"
    assert card.kill[0].arguments["after_epochs"] == 1
    assert card.reviewers.required == ("Scav", "Fae")
    assert card.budget.pessimistic_factor == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("goal:", "gaol:", r"goal: missing.*night\.md:3:1: gaol: unknown key"),
        ("target: 0.75", "target: 0.60", r"night\.md:8:5: targets\.0.*not better"),
        ("better: higher", "better: bigger", r"night\.md:8:\d+: targets\.0\.better: wrong value 'bigger'"),
        ("required: [Scav, Fae]", "needed: false", r"night\.md:12:1: reviewers.*cost limit"),
        ("run: night", "run: other", r"night\.md:2:1: run 'other'.*'night'"),
        ("ab" * 32, "abc", r"night\.md:6:8: data\.content_hash"),
        ("- {rule: non_finite}", "- {metric: a}", r"night\.md:11:5: kill\.1\.rule: missing"),
        ("rule: non_finite", "rule: non_finit", r"night\.md:11:\d+: kill\.1\.rule: unknown .*'non_finite'"),
        ("threshold: 0.60", "treshold: 0.60", r"night\.md:10:\d+: kill\.0\.t?h?reshold"),
    ],
)
def test_wrong_keys_and_values_say_where(old: str, new: str, message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        card_of(FRONT.replace(old, new))


def test_the_hash_covers_what_changes_the_run_and_nothing_else() -> None:
    same = (
        FRONT.replace("Prose.", "Other prose.\n"),
        FRONT.replace("/data/a", "/elsewhere"),
        FRONT.replace("       # by morning", ""),
        FRONT.replace("---\nProse", "reviews: [{by: A, verdict: block, hash: x, at: y}]\n---\nProse"),
    )
    assert {hash_of(text) for text in same} == {hash_of()}
    other = (
        FRONT.replace("learn", "unlearn"),
        FRONT.replace("0.60", "0.61"),
        FRONT.replace("ab" * 32, "cd" * 32),
        FRONT.replace("goal", "watched_by: [me]\ngoal"),
    )
    assert len({hash_of(), *map(hash_of, other), hash_of(model={"d": 1})}) == 6


def signed(*reviews: tuple[str, str, str], front: str = FRONT) -> Card:
    card = card_of(front).card
    made = [Review(by=by, verdict=verdict, comment="why", hash=hash, at="now") for by, verdict, hash in reviews]  # type: ignore[arg-type]
    return card.model_copy(update={"reviews": made})


@pytest.mark.parametrize(
    ("reviews", "state", "missing"),
    [
        ((), "missing", ("Scav", "Fae")),
        ((("Scav", "approve", "h"),), "missing", ("Fae",)),
        ((("Scav", "approve", "h"), ("Fae", "approve", "h")), "approved", ()),
        ((("Scav", "approve", "h"), ("Fae", "approve", "old")), "missing", ("Fae",)),
        ((("Scav", "approve", "h"), ("Fae", "approve", "h"), ("Guest", "block", "h")), "blocked", ()),
        ((("Scav", "approve", "h"), ("Fae", "block", "h"), ("Fae", "approve", "h")), "approved", ()),
        ((("Scav", "approve", "h"), ("Fae", "approve", "h"), ("Fae", "block", "h")), "blocked", ("Fae",)),
        ((("Scav", "block", "old"), ("Fae", "approve", "h")), "missing", ("Scav",)),
    ],
)
def test_signatures(reviews: tuple[tuple[str, str, str], ...], state: str, missing: tuple[str, ...]) -> None:
    found = sign_off(signed(*reviews), "h")
    assert (found.state, found.missing) == (state, missing)
    assert found.may_launch == (state == "approved")


def test_a_change_voids_signatures() -> None:
    card = signed(("Scav", "approve", hash_of()), ("Fae", "approve", hash_of()))
    assert sign_off(card, hash_of()).state == "approved"
    changed = sign_off(card, hash_of(FRONT.replace("0.60", "0.50")))
    assert changed.state == "missing"
    assert "VOID" in changed.in_words()


def test_somebody_must_look_unless_the_card_says_otherwise() -> None:
    nobody = FRONT.replace("reviewers: {required: [Scav, Fae]}\n", "")
    assert sign_off(card_of(nobody).card, "h").missing == ("anybody",)
    assert sign_off(signed(("Guest", "approve", "h"), front=nobody), "h").may_launch
    cheap = FRONT.replace("required: [Scav, Fae]", "needed: false, cost_limit_usd: 1")
    assert sign_off(card_of(cheap).card, "h").may_launch
    assert sign_off(signed(("Guest", "block", "h"), front=cheap), "h").state == "blocked"


def test_a_review_changes_its_own_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "night.md"
    path.write_text(FRONT)
    review = new_review(by="Fae", verdict="block", comment='not "yet":\nmend it', hash="h")
    CardFile.read(path).with_review(review).document.write()
    again = CardFile.read(path)
    assert again.card.reviews == [review]
    before, after = FRONT.split("---\nProse"), path.read_text().split("reviews:")
    assert after[0] == before[0]
    assert again.document.body == card_of().document.body


def test_cards_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "night.md").write_text(FRONT)
    assert find_card("night", tmp_path) == find_card("night.md", tmp_path) == tmp_path / "night.md"
    with pytest.raises(WrongUse, match="did you mean 'night'"):
        find_card("nigth", tmp_path)
    with pytest.raises(WrongUse, match="card new"):
        find_card("x", tmp_path / "none")


def test_not_a_card(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nrun: a\n---\n")
    with pytest.raises(ConfigError, match=r"a\.md:1:1: goal: missing"):
        CardFile.read(tmp_path / "a.md")
