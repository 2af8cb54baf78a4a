"""Between a card and its launch.

Owns: whether a card may be launched, and the kill rules that its run is given. Must not: launch.
"""

from __future__ import annotations

from worldmodel.cards.ask_cost import reviews
from worldmodel.cards.check import check
from worldmodel.cards.view import View
from worldmodel.errors import WrongUse
from worldmodel.runs.card_rules import rulebook_of
from worldmodel.runs.rulebook import Rulebook


def permit(view: View) -> None:
    """Raises WrongUse, with the reason, for a card that is not in order, not signed, blocked, or too dear unsigned."""
    name = view.file.card.run
    report = check(view.file, view.places, data=view.facts.data)
    if not report.is_good:
        wrong = [*report.problems, *(f"table {table} is stale" for table in report.stale)]
        raise WrongUse(f"card {name}: {wrong[0]}", "a card in order", f"see worldmodel card check {name}")
    for severity, message in reviews(view):
        if severity != "ok":
            way_out = f"worldmodel card review {name} --by WHO --approve, or --block with a --comment"
            raise WrongUse(f"card {name} (hash {view.hash}): {message}", "a signed card", way_out)


def rules_of(view: View) -> Rulebook:
    """The card's rules, with its budget and the price of its device."""
    return rulebook_of(view.file.card, cards=view.places.cards)
