"""What a reviewer would ask of a card, asked.

Owns: asking every question, and the order of the answers. To add a question: one function with `@question` in one of
the files `ask_*`; it looks at a view and yields answers.
Must not: know a question.
"""

from __future__ import annotations

from collections.abc import Iterable

from worldmodel.cards import ask_cost, ask_night, ask_sense
from worldmodel.cards.questions import ORDER, QUESTIONS, Finding
from worldmodel.cards.view import View

ASKED = (ask_night, ask_sense, ask_cost)
"""Where questions are."""


def lint(view: View) -> list[Finding]:
    """Ask everything. The gravest first."""
    return ask(view, QUESTIONS)


def ask(view: View, names: Iterable[str]) -> list[Finding]:
    """Ask some questions, by name. The gravest answer first."""
    found = [Finding(name, *answer) for name in names for answer in QUESTIONS[name](view)]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))
