"""The weights that ship in the package: whole, of this codec, told about, and small."""

from __future__ import annotations

import hashlib
import json

import torch

from worldmodel.dynamics.world import World
from worldmodel.evaluation.subject import released
from worldmodel.models.base import describe_weights, load_model
from worldmodel.nn.frames import Pads
from worldmodel.schema import LAYOUT

WEIGHTS = "weights.safetensors"


def test_the_files_are_those_that_the_codec_tells_of() -> None:
    folder = released()
    told = json.loads((folder / "codec.json").read_text(encoding="utf-8"))
    assert told["codec_hash"] == LAYOUT.codec_hash, "the schema's codec changed: these weights must be trained anew"
    for file in told["files"].values():
        assert hashlib.sha256((folder / file["file"]).read_bytes()).hexdigest() == file["sha256"]
    assert hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == told["model"]["weights_sha256"]
    # Six megabytes for Python, six for a browser, both in float16: a third of each the table of moves.
    assert sum(file.stat().st_size for file in folder.iterdir()) < 13_000_000


def test_the_card_has_measured_numbers_of_these_weights() -> None:
    page = (released() / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## Measured on games it has not seen" in page
    assert "pos_distance@60" in page
    assert describe_weights(released() / WEIGHTS)["codec_hash"] == LAYOUT.codec_hash


def test_a_match_of_ten_seconds_is_sound() -> None:
    """From the first frame of a match, nobody pressing anything."""
    world = World(load_model(released() / WEIGHTS))
    moment = world.fresh([31], [(2, 20)])
    pads = moment.state.numbers.new_zeros(1, 600, 2, len(LAYOUT.pad_numbers))
    buttons = torch.zeros(1, 600, 2, len(LAYOUT.pad_buttons.codec.masks), dtype=torch.bool)
    dreamt = world.rollout(moment, Pads(pads, buttons))
    assert torch.isfinite(dreamt.numbers).all()
    assert dreamt.numbers.shape[:3] == (1, 600, 2)
