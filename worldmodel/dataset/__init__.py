"""Frames at rest: ingest, store, split, blocks, windows, pack, statistics.

Importing the room costs nothing: `open_dataset` and the types are in `store`, each other verb is in the module of its name.
"""
