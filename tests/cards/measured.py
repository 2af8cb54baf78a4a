"""A measured plan, by hand."""

from __future__ import annotations

from typing import Any

from worldmodel.cards.plans import Kept, Looked, Machine, Measured, Memory, Plan, Steps, Stretch
from worldmodel.cards.view import View, work_key
from worldmodel.runs.ledger import EntryCode, EntryData

CPU = Machine(device="cpu", num_cpus=2, system="x")
A100 = Machine(device="cuda", gpu="NVIDIA A100-SXM4-40GB", num_cpus=8, system="x")


def steps(*seconds: float, what: str = "undisturbed", first_s: float = 5.0) -> Steps:
    return Steps(
        what=what, at_step=0, first_s=first_s, stretches=[Stretch(num_steps=1, seconds=value) for value in seconds]
    )


def measured(**changes: Any) -> Measured:
    """Steps of 1 s, 4 s longer the first; validation 10 s and naive models 6 s; a checkpoint of 1 MB."""
    parts: dict[str, Any] = {
        "open_s": 2.0,
        "block_s": 3.0,
        "num_blocks": 1,
        "block_bytes": 10**6,
        "tier": "host",
        "light": steps(0.9, 1.0, 1.1),
        "heavy": steps(0.9, 1.0, 1.1),
        "validation": Looked(num_windows=100, num_all=200, seconds=5.0, naive_s=3.0),
        "checkpoint": Kept(num_bytes=10**6, stall_s=0.5, write_s=2.0, read_s=1.0),
        "memory": Memory(host=10**9, host_room=10**10, reported=9 * 10**8),
        "disk_free": 10**10,
    }
    return Measured(**parts | changes)


def plan_for(view: View, *, at: str = "2026-02-01T00:00:00.000+00:00", **changes: Any) -> Plan:
    """Of a card's work, on a CPU."""
    parts: dict[str, Any] = {
        "at": at,
        "name": view.file.card.run,
        "work": work_key(view.experiment),
        "data": EntryData(content_hash=view.facts.data.content_hash),
        "machine": CPU,
        "code": EntryCode(),
        "measured": measured(),
        "gpu_meant": view.file.card.backend.gpu,
    }
    return Plan(**parts | changes)
