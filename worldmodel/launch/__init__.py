"""Runs that outlive who began them: backends, who looks after a run, and what is seen of it from outside.

Must not: import torch, or train. A run is started as a command, and known by its folder.
"""
