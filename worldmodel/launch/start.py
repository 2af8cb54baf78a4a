"""Launching: from an order for training to a run that is well begun and left alone.

Owns: the order of events of a launch, and what is left behind by one that failed. Must not: know a platform (`base`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worldmodel.errors import WrongUse
from worldmodel.launch import board, closeout
from worldmodel.launch.base import AFAR, Order, backend_of, read_order, train_commands
from worldmodel.launch.device import device_names
from worldmodel.launch.health import Health, wait_until_well
from worldmodel.runs import atomic
from worldmodel.runs.folder import RunFolder
from worldmodel.tracking.jsonl import JsonlWriter

Tell = Callable[[str, str], None]
TAIL_BYTES = 8_000


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that was submitted. health: None if nobody waited for it; said: the end of what a failed one said."""

    run: RunFolder
    order: Order
    health: Health | None = None
    said: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Carded:
    """The card that a run is launched by. text: as it is now; hash: what was signed of it; instead_of: the run whose
    fallback it is."""

    path: Path
    text: str
    hash: str
    instead_of: str | None = None


def launch(
    arguments: Sequence[str],
    *,
    later: Sequence[str] = (),
    stem: str,
    runs: Path,
    name: str | None = None,
    backend: str = "local",
    device: str | None = None,
    share_device: bool = False,
    retries: int = 0,
    time_limit_s: float | None = None,
    asks: Mapping[str, str] | None = None,
    processes: int = 1,
    card: Carded | None = None,
    wait: bool = True,
    health_limit_s: float | None = None,
    tell: Tell = lambda what, text: None,
) -> Launched:
    """Submit a training, and wait until it is well begun.

    arguments: those of `worldmodel train` that begin it; later: those that its resumption needs besides (a dataset that
    moved, a device). stem: what the run is called after when it has no name. asks: of the platform (see `Order`).
    processes: that train together, a device each. card: whose run it is; a copy of it stays in the run folder.
    Raises WrongUse, with nothing left behind, for a taken device or name. KeyboardInterrupt while waiting leaves the
    run alone.
    """
    platform = backend_of(backend)
    run = RunFolder.create(runs, experiment=stem, name=name)
    order = None
    try:
        first, again = train_commands(run, list(arguments), later=list(later), processes=processes)
        holds = _held(backend, device, processes, share_device=share_device)
        if card is not None:
            atomic.write_text(run.card, card.text)
        order = platform.submit(
            run,
            Order(
                backend=backend,
                first=first,
                again=again,
                cwd=str(Path.cwd()),
                device=holds,
                retries=retries,
                time_limit_s=time_limit_s,
                asks=dict(asks or {}),
                submitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
                processes=processes,
                card=None if card is None else str(card.path.resolve()),
                card_hash=None if card is None else card.hash,
                instead_of=None if card is None else card.instead_of,
            ),
        )
    finally:
        if order is None:  # nothing runs: nothing is left behind
            shutil.rmtree(run.path)
    tell("submitted", f"{run.path} on {platform.describe(order)}")
    _mark_card(run, tell)
    if not wait:
        return Launched(run, order)
    health = wait_until_well(run, order, tell=tell, limit_s=health_limit_s)
    if not health.failure:
        return Launched(run, order, health)
    return _failed(run, order, health)


def go_on(
    run: RunFolder,
    *,
    later: Sequence[str] = (),
    backend: str = "local",
    device: str | None = None,
    share_device: bool = False,
    retries: int = 0,
    time_limit_s: float | None = None,
    processes: int | None = None,
    wait: bool = True,
    tell: Tell = lambda what, text: None,
) -> Launched:
    """Submit the resumption of a run, and wait until it trains again. Raises WrongUse if it still runs, or cannot.

    later: words of `worldmodel train --resume` besides. Other arguments: as for `launch`.
    """
    RunFolder.open(run.path)
    sight = board.look(run)
    if not sight.is_over:
        raise WrongUse(f"{run.path} is {sight.state}", "a run that has ended", f"worldmodel stop {run.path} ends it")
    # Of a run that is afar the checkpoints are there too, and are looked for there.
    step = int(sight.status.get("step") or 0) if backend in AFAR else run.newest_checkpoint()[0].step
    platform = backend_of(backend)
    before = read_order(run)
    processes = processes or (before.processes if before is not None else 1)
    first, again = train_commands(run, [], later=list(later), processes=processes)
    holds = _held(backend, device, processes, share_device=share_device)
    since = run.events.stat().st_size if run.events.exists() else 0
    run.care.unlink(missing_ok=True)  # of the life before; the new one is seen by its own
    order = Order(
        backend=backend,
        first=first,
        again=again,
        cwd=str(Path.cwd()),
        device=holds,
        retries=retries,
        time_limit_s=time_limit_s,
        asks=_asked_before(run, backend),
        submitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        processes=processes,
        card=before.card if before is not None else None,
        card_hash=before.card_hash if before is not None else None,
        instead_of=before.instead_of if before is not None else None,
    )
    with _told_relaunched(run, backend, step):
        order = platform.submit(run, order)
    tell("submitted", f"{run.path} from step {step:,} on {platform.describe(order)}")
    _mark_card(run, tell)
    if not wait:
        return Launched(run, order)
    health = wait_until_well(run, order, tell=tell, since=since)
    return _failed(run, order, health) if health.failure else Launched(run, order, health)


@contextmanager
def _told_relaunched(run: RunFolder, backend: str, step: int) -> Iterator[None]:
    """From here on the end before is not the last word. Taken back if the job could not be submitted."""
    if backend in AFAR:  # its record is there
        yield
        return
    size = run.events.stat().st_size if run.events.exists() else 0
    with JsonlWriter(run.events, durable=True) as events:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        events.write({"event": "relaunched", "at": at, "step": step})
    try:
        yield
    except BaseException:
        os.truncate(run.events, size)
        raise


def _held(backend: str, device: str | None, processes: int, *, share_device: bool) -> str | None:
    """The devices that nobody else shall take meanwhile, or None. Raises WrongUse."""
    if processes > 1 and backend in AFAR:
        raise WrongUse(f"{processes} devices on {backend}", "one", "launch it locally, or on slurm")
    if backend != "local" or share_device:
        return None
    return ",".join(device_names(device, os.environ, processes))


def _mark_card(run: RunFolder, tell: Tell) -> None:
    """Onto the card: launched, and that no end is known. A card that cannot be written is told, and written later."""
    if closeout.card_path(run) is None:
        return
    try:
        problem = closeout.close(run).problem
    except (OSError, WrongUse) as error:
        problem = str(error)
    if problem:
        tell("card", f"NOT WRITTEN ON: {problem}")


def _asked_before(run: RunFolder, backend: str) -> dict[str, str]:
    """What the same platform was asked for when the run was launched."""
    before = read_order(run)
    return dict(before.asks) if before is not None and before.backend == backend else {}


def _failed(run: RunFolder, order: Order, health: Health) -> Launched:
    """What a failed start said, in full; the folder stays if there is anything in it to look at."""
    platform = backend_of(order.backend)
    until = time.monotonic() + 10
    while platform.poll(run, order).state != "over" and time.monotonic() < until:
        time.sleep(0.1)  # it is on its way out, and its last words are just being written
    files = [path for path in platform.logs(run, order) if path.exists() and path.stat().st_size]
    said = tail_text(files[-1], TAIL_BYTES) if files else ""
    is_wrong_use = health.failure.startswith("exit code 2: ")
    if is_wrong_use and not run.config.exists():
        said = said.strip().splitlines()[-1] if said.strip() else health.failure
        shutil.rmtree(run.path)  # wrong input: there is no run, and its name is free
    return Launched(run, order, health, said, 2 if is_wrong_use else 1)


def tail_text(path: Path, max_bytes: int) -> str:
    """The last lines of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - max_bytes))
        text = file.read().decode(errors="replace")
    return text.partition("\n")[2] if start else text
