"""Questions about a card: their registry, and what an answer is.

Owns: the shape of a question. Must not: ask one (the files `ask_*` do).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from worldmodel.cards.view import View
from worldmodel.launch.base import AFAR

Severity = Literal["blocker", "warning", "not measured", "note", "ok"]
ORDER: tuple[Severity, ...] = ("blocker", "warning", "not measured", "note", "ok")
"""As they are shown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. question: name of the function that asked."""

    question: str
    severity: Severity
    message: str


Answer = tuple[Severity, str]
Question = Callable[[View], Iterator[Answer]]

QUESTIONS: dict[str, Question] = {}
"""Every question, by the name of its function."""


def question(function: Question) -> Question:
    """A function of a view that yields answers."""
    QUESTIONS[function.__name__] = function
    return function


def is_remote(view: View) -> bool:
    """Whether the run is on a machine that goes, and its disk with it."""
    return view.file.card.backend.name in AFAR
