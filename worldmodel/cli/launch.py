"""`worldmodel launch`: a training that outlives this terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.begin import experiment_and_changes
from worldmodel.cli.output import Json, Output
from worldmodel.errors import WorldModelError, WrongUse


def launch(
    config: Annotated[
        str | None, typer.Argument(help="Experiment file, or the name of one that comes along (tiny, demo ...).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: training.lr=3e-4")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a dataset.")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with this run (folder or name) instead of a new one.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in total, over the experiment's.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run (default: experiment and date).")] = None,
    rules: Annotated[Path | None, typer.Option(help="File of kill rules; kept in the run.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="Where: local, slurm, modal (default: local, or where the run was before).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="A process for each, that train together (default: 1, or as before).")
    ] = None,
    share_device: Annotated[bool, typer.Option("--share-device", help="Though another run has the device.")] = False,
    retries: Annotated[
        int, typer.Option(min=0, help="Lives after the first, after a crash or a hang, if it got on before.")
    ] = 3,
    time_limit: Annotated[str | None, typer.Option(help="Of all lives together: 8h, 1h30m. It saves before.")] = None,
    track: Annotated[
        str | None, typer.Option(help="Mirror to W&B: off, optional, required (default: as before, else off).")
    ] = None,
    track_project: Annotated[str | None, typer.Option(help="Project over there.")] = None,
    track_entity: Annotated[str | None, typer.Option(help="Team or person over there.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it is well begun.")] = False,
    as_json: Json = False,
) -> None:
    """Start a training of its own process, wait until it is well begun, and let go.

    Well begun: the data is open, the model was validated, a checkpoint was written and read back, batches are trained.
    A start that fails is shown here, with its traceback.
    """
    from worldmodel.launch import board, start
    from worldmodel.launch.base import AFAR, read_order
    from worldmodel.runs.rulebook import read_rules
    from worldmodel.training.stop import seconds_of

    config, changes = experiment_and_changes(
        "launch", config, overrides, resumes=resume is not None, has_data=data is not None
    )
    output = Output(as_json)
    if rules is not None:
        read_rules(rules)
    before = None if resume is None else read_order(board.find_run(resume, runs))
    backend = backend or (before.backend if before is not None else "local")
    # What does not lie here is a name on the platform's own disk.
    is_there = backend in AFAR and data is not None and not data.exists()
    more = [] if data is None else ["--data", str(data if is_there else data.resolve())]
    more += [] if rules is None else ["--rules", str(rules.resolve())]
    more += [] if epochs is None else ["--epochs", str(epochs)]
    words = {"--track": track, "--track-project": track_project, "--track-entity": track_entity}
    more += [word for name, value in words.items() if value is not None for word in (name, value)]
    on = [] if device is None else ["--device", device]

    def tell(what: str, text: str) -> None:
        output.say(f"{what:>10}  {text}")

    limit_s = None if time_limit is None else seconds_of(time_limit)
    try:
        if resume is not None:
            done = start.go_on(
                board.find_run(resume, runs),
                later=[*changes, *more, *on],
                backend=backend,
                device=device,
                processes=devices,
                share_device=share_device,
                retries=retries,
                time_limit_s=limit_s,
                wait=not detach,
                tell=tell,
            )
        else:
            assert config is not None
            done = start.launch(
                [config, *changes, *more, *on],
                later=on,
                stem=Path(config).stem,
                runs=runs,
                name=name,
                backend=backend,
                device=device,
                processes=devices or 1,
                share_device=share_device,
                retries=retries,
                time_limit_s=limit_s,
                wait=not detach,
                tell=tell,
            )
    except KeyboardInterrupt:
        output.say("not waited for any longer: the run goes on (worldmodel runs; worldmodel stop NAME)")
        raise
    run = done.run
    if done.exit_code == 2:
        raise WrongUse(*_three(done.said))
    if done.exit_code:
        output.say(done.said.rstrip())
        raise WorldModelError(f"{run.path} failed at its start: {done.health.failure if done.health else ''}")
    if done.health is None:
        output.say("NOT WAITED FOR: whether it begins well is not known; look with worldmodel status")
    else:
        output.say(f"well begun: {run.path} goes on without this terminal")
    output.say(f"next: worldmodel watch {run.path}   worldmodel stop {run.path}")
    output.result({"run": str(run.path), "seen": done.health.seen if done.health else None})


def _three(said: str) -> tuple[str, str, str]:
    """The worker's own words, as it was wrong use there already: found, expected, way out."""
    found, _, rest = said.removeprefix("worldmodel: ").partition("; expected ")
    expected, _, way_out = rest.partition("; ")
    return found, expected, way_out
