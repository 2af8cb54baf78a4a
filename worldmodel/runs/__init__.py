"""Experiment files, run folders and where a run came from. Must not: import torch, train, or know what a model is."""
