"""`worldmodel stop`: a run saves and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.cli.status import Runs
from worldmodel.errors import WorldModelError


def stop(
    run: Annotated[str, typer.Argument(help="Run folder, or its name.")],
    runs: Runs = Path("runs"),
    wait: Annotated[float, typer.Option(min=0, help="Seconds until it is killed if it does not leave.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Ask a run to save and end, wait for that, and say how it ended. It is not begun again by itself."""
    from worldmodel.launch import board
    from worldmodel.launch.base import backend_of, read_order
    from worldmodel.launch.local import stop_processes

    output = Output(as_json)
    folder = board.find_run(run, runs)
    before = board.look(folder)
    if before.is_over:
        output.say(f"{folder.path}: has ended before: {before.why or before.state}")
        output.result(before.as_json())
        return
    if before.state == "unseen" and (order := read_order(folder)) is None:
        raise WorldModelError(f"{folder.path} runs {before.why}: stop it there")
    order = read_order(folder)
    if order is None:
        how = stop_processes(folder, wait_s=wait)
    else:
        how = backend_of(order.backend).stop(folder, order, wait_s=wait)
    after = board.look(folder)
    saved = after.status.get("last_checkpoint") or {}
    kept = f"saved at step {saved['step']:,}" if saved else "it had saved nothing"
    output.say(f"{folder.path}: {how} ({after.why}); {kept}")
    output.result(after.as_json() | {"how": how})
    if not after.is_over:
        raise WorldModelError(f"{folder.path} still runs ({after.why})")
