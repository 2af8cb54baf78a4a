"""`worldmodel bench`: how fast this machine is, beside what it could be and what others were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse


def bench(
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 (default: the best there is).")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds of all cases, in turn.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU (default: the machine's choice).")] = None,
    compiled: Annotated[
        bool | None,
        typer.Option("--compile/--eager", help="Default: compiled on a GPU, where it is a matter of course."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File the result there, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Time a quick set on this machine: loading, training steps, rollouts, weights; about a minute.

    Beside each: the share of this machine's own ceiling, and other machines' results.
    """
    import json

    import torch

    from worldmodel.bench import quick
    from worldmodel.bench.clock import machine
    from worldmodel.bench.filed import as_json as filed_form
    from worldmodel.bench.filed import read_filed
    from worldmodel.runs import atomic
    from worldmodel.training.device import choose_device

    if out is not None and not out.parent.is_dir():
        raise WrongUse(f"no folder {out.parent}", "one that is there", "make it, or name another file")
    if out is not None and out.is_dir():
        raise WrongUse(f"{out} is a folder", "the name of a file", f"name one in it, as {out / 'bench.json'}")
    output = Output(as_json)
    chosen = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    is_compiled = chosen.type == "cuda" if compiled is None else compiled
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    output.say(f"{name}, {'compiled' if is_compiled else 'eager'}; a minute or so ...")
    ceilings, rows = quick.measure(chosen, rounds=rounds, compiled=is_compiled)
    others = read_filed()
    output.table(
        ("case", "per second", "unit", "of ceiling", "spread", *(f"x {one.name}" for one in others)),
        [
            (
                row.case, f"{row.per_s:,.0f}", row.unit, f"{row.share:.1%}", f"{row.spread:.2f}",
                *(f"{row.per_s / one.per_s[row.case]:.2f}" if row.case in one.per_s else "" for one in others),
            )
            for row in rows
        ],
    )  # fmt: skip
    output.say(
        f"ceilings: {ceilings.flops / 1e9:,.0f} GFLOP/s of one product, copies at {ceilings.copy_bytes / 1e9:,.1f} GB/s"
    )
    if not others:
        output.say("no results of other machines are filed")
    if any(row.spread > 1.5 for row in rows):
        output.say("BUSY: rounds of one case differ by more than half; nothing here is worth filing")
    result = filed_form(name, compiled=is_compiled, ceilings=ceilings, rows=rows, about=machine())
    if out is not None:
        atomic.write_text(out, json.dumps(result, indent=1) + "\n")
    output.result(result)
