"""The door to the optional packages of this room.

Owns: the one line that a user without them reads. Must not: import them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worldmodel.errors import WrongUse

EXTRA = ("gymnasium", "pettingzoo")


@contextmanager
def needed() -> Iterator[None]:
    """Around imports of the extra's packages. Raises WrongUse with what to install if one is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise  # something is there and broken: that is another story, to be read in full
        raise WrongUse(
            f"no package {error.name!r}", "it beside worldmodel, for this interface", "pip install 'worldmodel[env]'"
        ) from error
