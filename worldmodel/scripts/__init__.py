"""Doors at the paths that run cards name. Must not: do work (rooms do)."""
