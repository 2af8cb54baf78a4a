"""What an hour of a device costs.

Owns: the dated table of prices, and which entry holds on a day. Must not: estimate how long anything takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from worldmodel.runs import strict
from worldmodel.runs.strict import Strict

TABLE = Path(__file__).with_name("prices.yaml")
NAME = "prices.yaml"
"""Of a team's own table, in its folder of cards."""


class Price(Strict):
    """One entry: usd_per_hour of one device from the day `as_of` on."""

    gpu: str
    usd_per_hour: Annotated[float, Field(ge=0)]
    as_of: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    source: str


class _Table(Strict):
    prices: list[Price] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Prices:
    """All entries there are; of two for one device and day the later one in the list holds."""

    entries: tuple[Price, ...]

    def of(self, gpu: str | None, on: date | None = None) -> Price | None:
        """The newest price of a device, or the one that held on a day; None if it has none.

        Before the first date of a device its first price stands: nobody wrote down an earlier one.
        """
        own = sorted((entry for entry in self.entries if entry.gpu == gpu), key=lambda entry: entry.as_of)
        held = [entry for entry in own if on is None or entry.as_of <= on.isoformat()]
        return held[-1] if held else (own[0] if own else None)


def load_prices(cards: Path | None = None) -> Prices:
    """The table that comes along, and the one in a folder of cards if there is one. Raises ConfigError."""
    own = strict.load(cards / NAME, _Table).prices if cards is not None and (cards / NAME).is_file() else []
    return Prices((*_shipped(), *own))


@cache
def _shipped() -> tuple[Price, ...]:
    return tuple(strict.load(TABLE, _Table).prices)
