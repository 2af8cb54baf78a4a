"""`worldmodel logs`: what a launched run said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.status import Run, Runs
from worldmodel.errors import WrongUse

EVERY_S = 0.5


def logs(
    run: Run = None,
    runs: Runs = Path("runs"),
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Of the end; 0 for all.")] = 40,
) -> None:
    """What the worker said, on standard error and output; with -f as it comes."""
    import time

    from worldmodel.launch import board
    from worldmodel.launch.base import AFAR, backend_of, read_order

    folder = board.find_run(run, runs)
    order = read_order(folder)
    if order is None:
        raise WrongUse(
            f"{folder.path} was not launched",
            "a run of worldmodel launch",
            "its words went to the terminal it began at",
        )
    if follow and order.backend in AFAR:
        found = f"--follow of a run that is elsewhere ({order.backend})"
        words = f"modal app logs {order.job.get('app')} --follow --function-call {order.job.get('call')}"
        raise WrongUse(found, "its platform's own words", words)
    files = [path for path in backend_of(order.backend).logs(folder, order) if path.exists()]
    many = sum(path.stat().st_size > 0 for path in files) > 1
    offsets = {}
    for path in files:
        data = path.read_bytes()
        offsets[path] = len(data)
        said = data.decode(errors="replace").splitlines()[-lines:]
        if said and many:
            print(f"---- {path.name}")
        if said:
            print("\n".join(said), flush=True)
    while follow:
        is_over = board.look(folder).is_over
        for path in files:
            with path.open("rb") as file:
                file.seek(offsets[path])
                data = file.read()
            offsets[path] += len(data)
            if data:
                print(data.decode(errors="replace"), end="", flush=True)
        if is_over:
            return
        time.sleep(EVERY_S)
