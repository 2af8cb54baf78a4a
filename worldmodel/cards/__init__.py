"""Run cards: facts computed from a dataset and an experiment, rendered, compared, checked.

Must not: train, launch, or keep a number that can be computed.
"""
