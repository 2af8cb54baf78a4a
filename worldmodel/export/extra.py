"""The door to the optional packages of this room.

Owns: the one line that a user without them reads. Must not: import them at import.
"""

from __future__ import annotations

import importlib
from typing import Any

from worldmodel.errors import WrongUse

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def need(module: str) -> Any:
    """Import a module of an optional package. Raises WrongUse with what to install if the package is not there."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise  # it is there and broken: that is another story, to be read in full
        raise WrongUse(
            f"no package {error.name!r}", "it beside worldmodel, for exports", "pip install 'worldmodel[export]'"
        ) from error


def need_all() -> None:
    """Find out before any work is done."""
    for package in PACKAGES:
        need(package)
