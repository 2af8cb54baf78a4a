"""Training's own numbers: sums that stay on the device, fetched once per log line, and what wall-clock time went to.

Owns: which steps make a row of metrics, the clock of phases. Must not: write files.

A row is the mean over a fixed number of steps, so its content depends on steps alone; only *when* rows are fetched and
written goes by the clock. Times and speeds are in lines of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.training.team import ALONE, Team

CAPACITY = 256
"""Complete rows that may wait on the device."""

MAX_EVENTS = 4096
"""Events on a CUDA stream between two readings of the pace."""

NEVER = 2.0**53
"""Stands for "no step yet" among steps."""


class NonFinite(WorldModelError):
    """The loss or its gradient was not finite. The update was not made, and nothing was saved since."""


class Meter:
    """Sums of `names` over rows of `row_steps` steps.

    unlogged: the sums that an incomplete row had, on resume. where: the place in the data of (step, slot of the
    batch), in words. In a team every process adds its own share, and `fetch` is for all of them at the same step.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        row_steps: int,
        step: int,
        device: torch.device,
        unlogged: Tensor | None = None,
        team: Team = ALONE,
        where: Callable[[int, int], str] = lambda step, slot: f"slot {slot} of its batch",
    ) -> None:
        self.names, self.row_steps, self.device = tuple(names), row_steps, device
        self._team, self._where = team, where
        self._step = step
        self._first_row = step // row_steps
        # The last column counts steps, so that a row which was fetched when half full is the mean of what is left.
        self._sums = torch.zeros(CAPACITY, len(self.names) + 1, dtype=torch.float64, device=device)
        self._first_bad = torch.tensor(NEVER, dtype=torch.float64, device=device)
        self._culprit = torch.zeros(2, dtype=torch.float64, device=device)
        if unlogged is not None and team.is_lead:
            self._sums[0] = unlogged

    def add(self, values: Tensor, bad: Tensor, per_sequence: Tensor, first_slot: int = 0) -> None:
        """One step's values (M,), whether they are not to be trusted (a bool), and the loss of each sequence (B,),
        the first of which is in `first_slot` of the batch. No synchronisation."""
        row = self._sums[self._step // self.row_steps - self._first_row]
        row[:-1] += values
        if self._team.is_lead:
            row[-1] += 1
        badness = torch.where(per_sequence.isfinite(), per_sequence, torch.inf).double()
        most, place = badness.max(0)
        culprit = torch.stack([most, (place + first_slot).double()])
        self._culprit = torch.where(bad & (self._first_bad == NEVER), culprit, self._culprit)
        self._first_bad = torch.minimum(self._first_bad, torch.where(bad, float(self._step), NEVER))
        self._step += 1

    @property
    def is_full(self) -> bool:
        """Whether rows must be fetched before another step."""
        return self._step // self.row_steps - self._first_row >= CAPACITY

    @property
    def unlogged(self) -> Tensor:
        """Sums and count of the incomplete row (M+1,) on the CPU, for the checkpoint, over all processes of the team.

        Fetch complete rows first.
        """
        return self._team.sum_on_host(self._sums[0].to("cpu", copy=True))

    def fetch(self, *, partial: bool = False) -> list[tuple[int, dict[str, float]]]:
        """Complete rows not fetched yet, as (steps done at the row's end, means); with `partial` the begun one too.

        The one synchronisation with the device. Raises NonFinite, in every process of a team.
        """
        first_bad = float(self._first_bad)
        if first_bad < NEVER:
            raise NonFinite(
                f"loss or gradient not finite at step {int(first_bad)}, worst in "
                f"{self._where(int(first_bad), self._worst_slot())}; the update was left out"
            )
        done = self._step // self.row_steps - self._first_row
        take = done + 1 if partial and done < CAPACITY else done
        sums = self._team.sum_on_host(self._sums[:take].to("cpu", copy=True))
        rows = []
        for index, (*totals, count) in enumerate(sums.tolist()):
            if count:
                end = min((self._first_row + index + 1) * self.row_steps, self._step)
                rows.append((end, {name: value / count for name, value in zip(self.names, totals, strict=True)}))
        if take:
            rest = self._sums[done].clone() if take == done < CAPACITY else torch.zeros_like(self._sums[0])
            self._sums.zero_()
            self._sums[0] = rest
            self._first_row += done
        return rows

    def _worst_slot(self) -> int:
        """Slot of the batch with the greatest loss at the first bad step, not finite being the greatest of all."""
        found = torch.zeros(self._team.world, 2, dtype=torch.float64)
        found[self._team.rank] = self._culprit.cpu()
        # inf + 0 is inf, and every row has one writer.
        badness, slots = self._team.sum_on_host(found).unbind(1)
        return int(slots[badness.argmax()])


@dataclass(slots=True)
class Pace:
    """Where wall-clock time goes: phases of a step, since the last `read`.

    On CUDA a phase is timed by events on the stream, because there the host runs ahead of the device; of a long
    interval only the first steps are timed that way, their shares stand for all.
    """

    device: torch.device
    phases: tuple[str, ...] = ("data", "disturb", "forward", "backward", "optimiser")
    _spent_s: dict[str, float] = field(default_factory=dict)
    _events: list[tuple[str, torch.cuda.Event]] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)
    _since: float = field(default_factory=time.perf_counter)
    _other_s: float = 0.0

    def lap(self, phase: str) -> None:
        """What ran since the lap before was this phase. "" for what is no part of a step: validation, saving."""
        now = time.perf_counter()
        if phase == "":
            self._other_s += now - self._last
        elif self.device.type != "cuda":
            self._spent_s[phase] = self._spent_s.get(phase, 0.0) + now - self._last
        self._last = now
        if self.device.type == "cuda" and len(self._events) < MAX_EVENTS:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append((phase, event))

    def read(self, num_steps: int, targets_per_step: float) -> dict[str, float]:
        """Speed and shares since the last call. On CUDA only after a synchronisation, as `Meter.fetch` is one."""
        if self._events:
            torch.cuda.synchronize(self.device)
            for (_, before), (phase, after) in zip(self._events, self._events[1:], strict=False):
                self._spent_s[phase] = self._spent_s.get(phase, 0.0) + before.elapsed_time(after) / 1000
            self._events = self._events[-1:] if len(self._events) < MAX_EVENTS else []
        now = time.perf_counter()
        elapsed_s = now - self._since
        stepping_s = max(elapsed_s - self._other_s, 1e-9)
        phases_s = sum(self._spent_s.get(phase, 0.0) for phase in self.phases)
        out = {
            "examples_per_s": num_steps * targets_per_step / stepping_s,
            "step_ms": 1000 * stepping_s / max(1, num_steps),
            "elapsed_s": elapsed_s,
        }
        out |= {f"share_{phase}": self._spent_s.get(phase, 0.0) / max(phases_s, 1e-9) for phase in self.phases}
        out["memory_gb"] = memory_gb(self.device)
        self._spent_s, self._since, self._last, self._other_s = {}, now, now, 0.0
        return out


def memory_gb(device: torch.device) -> float:
    """Peak memory of the device, or the resident memory of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return float(psutil.Process().memory_info().rss) / 1e9
