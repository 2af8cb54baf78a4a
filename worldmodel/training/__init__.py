"""Experiments become weights: configs, optimiser, disturbance, checkpoints, the loop. The door is `run`.

Importing the room costs nothing.
"""
