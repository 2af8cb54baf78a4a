"""The card's fallback: launched once, loudly, when a rule that asks for it has ended the run.

Owns: whether, and what is written of it. Must not: judge the fallback's card. The verb `card launch` does, as for any
other: it needs a sign-off of its own, or a policy by which none is needed.

Never a loop: a run's name is taken once it was launched, so no card of a circle is launched twice.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order
from worldmodel.launch.outcome import launched_card
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.rulebook import REASON
from worldmodel.tracking import jsonl

LIMIT_S = 7200.0
"""Until the launch is no longer waited for; the run then goes on by itself."""


def is_due(run: RunFolder) -> str | None:
    """The name of the fallback's card, if the last life was ended by a rule that asks for it, and it was not tried."""
    try:
        card = launched_card(run)
    except WrongUse:
        return None
    if card is None or card.fallback is None:
        return None
    rows = jsonl.tail(run.events)
    if any(row.get("event") == "fallback" for row in rows):
        return None
    ends = [row for row in rows if row.get("event") in ("ended", "started", "resumed")]
    rules = [row for row in rows if row.get("event") == "rule"]
    if not ends or not rules or not rules[-1].get("fallback"):
        return None
    is_asked = ends[-1].get("reason") == f"{REASON}{rules[-1].get('rule')}"
    return card.fallback.card if is_asked else None


def launch_fallback(run: RunFolder, order: Order, *, tell: Callable[..., None], say: Callable[[str], None]) -> bool:
    """Launch it if it is due, and write down how that went; whether it was tried. tell: writes an event of the run."""
    name = is_due(run)
    if name is None or order.card is None:
        return False
    cards = Path(order.card).parent
    say(f"{run.id}: FALLBACK: launching card {name} instead")
    command = [sys.executable, "-m", "worldmodel", "card", "launch", name, "--cards", str(cards)]
    command += ["--runs", str(run.path.resolve().parent), "--instead-of", run.id]
    try:
        done = subprocess.run(
            command,
            cwd=order.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if line.strip()]
        message = f"{name} was launched instead, and is well begun"
        if done.returncode:
            last = (said[-1] if said else f"exit code {done.returncode}").removeprefix("worldmodel: ")
            message = f"{name} was NOT launched, or ended at its start: {last}"
    except subprocess.TimeoutExpired:
        message = f"{name} was launched instead; whether it is well begun was not seen within {LIMIT_S / 3600:g} h"
    except OSError as error:
        message = f"{name} was NOT launched: {error}"
    say(f"{run.id}: FALLBACK: {message}")
    tell("fallback", card=name, message=message)
    return True
