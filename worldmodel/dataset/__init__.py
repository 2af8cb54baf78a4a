"""Frames at rest: ingest, store, split, blocks, windows, pack, statistics.

Importing the room costs nothing: `open_dataset` and the types are in `store`, every other verb in the
module of its name.
"""
