"""Making the environment known to Gymnasium by name.

Owns: the name. Must not: import torch: whoever imports Gymnasium pays for this file.
"""

from __future__ import annotations

import gymnasium

ENV_ID = "worldmodel/Melee-v0"

_ENTRY = "worldmodel.env.gym"


def register() -> None:
    """`gymnasium.make` and `make_vec` know `ENV_ID` from now on. A second time does nothing."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=f"{_ENTRY}:MeleeEnv", vector_entry_point=f"{_ENTRY}:MeleeVectorEnv")
