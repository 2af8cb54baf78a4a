"""Cards for fake runs: the least that is a card, and what is written on it."""

from __future__ import annotations

from pathlib import Path

from worldmodel.launch.results import BLOCK
from worldmodel.runs.card import CardFile
from worldmodel.runs.folder import RunFolder

FRONT = """---
run: {name}
goal: to end
config: tiny
data: {{content_hash: {hash}}}
targets:
  - {{metric: val_change_acc, better: higher, baseline: 0.5, baseline_from: x, target: 0.6}}
  - {{metric: val_pos_mae, better: lower, target: 0.2}}
estimate: {{batch_s: 0.5, load_s: 10, source: a guess}}
backend: {{name: local, usd_per_hour: 3.6}}
budget: {{usd: 5}}
{more}---

# {name}

Prose of ours.
"""


def write_card(cards: Path, name: str = "run", *, more: str = "") -> Path:
    """A card on the disk."""
    cards.mkdir(exist_ok=True)
    path = cards / f"{name}.md"
    path.write_text(FRONT.format(name=name, hash="ab" * 32, more=more))
    return path


def give_card(run: RunFolder, card: Path) -> None:
    """What a launch by a card leaves in the run folder, besides the order."""
    run.card.write_text(card.read_text())


def results(card: Path) -> str:
    """What stands on the card of its run."""
    return CardFile.read(card).document.block(BLOCK)
