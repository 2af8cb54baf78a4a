"""A card's kill rules with what they go by: its budget, and the price of its device.

Owns: that one step. Must not: judge a rule.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from worldmodel.runs.card import Card
from worldmodel.runs.prices import load_prices
from worldmodel.runs.rulebook import Rulebook


def rulebook_of(card: Card, *, cards: Path | None = None, on: date | None = None) -> Rulebook:
    """What a run of this card is judged by. cards: folder whose own table of prices counts. Raises ConfigError."""
    price = card.backend.usd_per_hour
    if price is None and (found := load_prices(cards).of(card.backend.gpu, on)) is not None:
        price = found.usd_per_hour * card.backend.devices
    return Rulebook(kill=card.kill, usd=card.budget.usd, usd_per_hour=price)
