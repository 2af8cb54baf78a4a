"""Metrics and progress out of a run: JSON lines on disk, a bar on the terminal. Must not: compute anything."""
