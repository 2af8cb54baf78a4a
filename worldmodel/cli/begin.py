"""What the verbs that begin a training (`train`, `launch`) take for an experiment.

Owns: how their first words are read. Must not: begin one.
"""

from __future__ import annotations

from collections.abc import Sequence

from worldmodel.errors import WrongUse


def experiment_and_changes(
    verb: str, config: str | None, overrides: Sequence[str] | None, *, resumes: bool, has_data: bool
) -> tuple[str | None, list[str]]:
    """The experiment (none if a run is resumed, which keeps its own), and the changes to it. Raises WrongUse."""
    changes = list(overrides or ())
    if resumes:
        if config is not None and "=" not in config:
            raise WrongUse(f"--resume with {config}", "one of the two", "a run keeps the experiment that it began with")
        return None, changes if config is None else [config, *changes]
    if config is None or not has_data:
        raise WrongUse(
            "no experiment" if config is None else "no --data",
            "an experiment and a dataset",
            f"worldmodel {verb} CONFIG --data DATASET, or worldmodel {verb} --resume RUN",
        )
    return config, changes
