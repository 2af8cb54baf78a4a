"""The one table of game-state fields, and what follows from it."""

from worldmodel.schema.field import Buttons, Category, Event, Field, Flags, Number, Prior, Scope
from worldmodel.schema.layout import (
    CATEGORIES,
    LAYOUT,
    NUMBERS,
    PLAYERS,
    SCHEMA_VERSION,
    STAGE,
    Column,
    Layout,
    column_name,
)

__all__ = [
    "CATEGORIES",
    "LAYOUT",
    "NUMBERS",
    "PLAYERS",
    "SCHEMA_VERSION",
    "STAGE",
    "Buttons",
    "Category",
    "Column",
    "Event",
    "Field",
    "Flags",
    "Layout",
    "Number",
    "Prior",
    "Scope",
    "column_name",
]
