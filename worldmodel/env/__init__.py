"""Environments for agents, over the one transition: tensors on a device, Gymnasium, PettingZoo.

`Matches` and `Duel` need nothing but torch. The rest needs `pip install 'worldmodel[env]'`, and says so when asked
for without it. Where Gymnasium is installed, importing this registers `worldmodel/Melee-v0`.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.env.duel import Duel
    from worldmodel.env.gym import MeleeEnv, MeleeVectorEnv
    from worldmodel.env.matches import Matches
    from worldmodel.env.setup import make_matches
    from worldmodel.env.zoo import MeleeParallelEnv

__all__ = ["Duel", "Matches", "MeleeEnv", "MeleeParallelEnv", "MeleeVectorEnv", "make_matches"]

_HOMES = {
    "Duel": "duel",
    "Matches": "matches",
    "MeleeEnv": "gym",
    "MeleeParallelEnv": "zoo",
    "MeleeVectorEnv": "gym",
    "make_matches": "setup",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


if find_spec("gymnasium") is not None:
    from worldmodel.env.registration import register

    register()
