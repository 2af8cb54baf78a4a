"""The drift of a field is no encoding: with it or without it, datasets and weights are the same."""

from __future__ import annotations

from dataclasses import replace

from worldmodel.schema.fields import FIELDS
from worldmodel.schema.layout import LAYOUT, Layout


def test_it_changes_neither_hash() -> None:
    other = Layout(replace(row, drift=row.drift + 1) for row in FIELDS)
    assert other.codec_hash == LAYOUT.codec_hash
    assert other.store_hash == LAYOUT.store_hash
