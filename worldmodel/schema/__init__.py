"""The one table of game-state fields, and what follows from it."""

from worldmodel.schema.field import Buttons, Category, Event, Field, Flags, Number, Prior, Scope
from worldmodel.schema.layout import LAYOUT, PLAYERS, SCHEMA_VERSION, Column, Layout, column_name

__all__ = [
    "LAYOUT",
    "PLAYERS",
    "SCHEMA_VERSION",
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
