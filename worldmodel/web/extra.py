"""The door to the optional packages of this room.

Owns: the one line that a user without them reads. Must not: import them at import.
"""

from __future__ import annotations

import importlib.util

from worldmodel.errors import WrongUse

PACKAGES = ("starlette", "uvicorn")


def need_all() -> None:
    """Find out before any work is done. Raises WrongUse with what to install."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise WrongUse(f"no package {package!r}", "it beside worldmodel, for pages", "pip install 'worldmodel[ui]'")
