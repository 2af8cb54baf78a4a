"""Learns the physics of Super Smash Bros. Melee from Slippi replays. `ds = worldmodel.open_dataset(path)`.

Importing the package costs nothing: what it offers is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.dataset.store import open_dataset

__all__ = ["open_dataset"]


def __getattr__(name: str) -> Any:
    if name == "open_dataset":
        from worldmodel.dataset.store import open_dataset

        return open_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
