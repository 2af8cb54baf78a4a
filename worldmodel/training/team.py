"""The processes of one run: who they are, how they agree, and sums over them. One process alone is a team of one.

Owns: every collective. Must not: know what is summed or agreed on.

Started by `torchrun`, which says by environment variables who is who. Tensors go over NCCL between CUDA devices and
over gloo between CPUs; decisions of the host go over gloo always, so that they never wait for a device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Team:
    """`rank` of `world` processes. The lead (rank 0) writes files and speaks; the others are silent."""

    rank: int = 0
    world: int = 1
    host_group: dist.ProcessGroup | None = None

    @property
    def is_lead(self) -> bool:
        return self.rank == 0

    def agree(self, *wishes: int) -> tuple[int, ...]:
        """The greatest wish of any process, each for itself. All call it at the same place. Waits for no device."""
        if self.world == 1:
            return wishes
        votes = torch.tensor(wishes, dtype=torch.int64)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self.host_group)
        return tuple(votes.tolist())

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, in place, on the tensor's device, without waiting for it."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_on_host(self, tensor: Tensor) -> Tensor:
        """Sum over all processes of a CPU tensor, in place."""
        if self.world > 1:
            dist.all_reduce(tensor, group=self.host_group)
        return tensor

    def told(self, text: str) -> str:
        """What the lead says, for everybody."""
        if self.world == 1:
            return text
        message = [text]
        dist.broadcast_object_list(message, src=0, group=self.host_group)
        return message[0]


ALONE = Team()


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_lead() -> bool:
    """Whether this process is the one that writes and speaks, before and after there is a team."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """The team of this process for the time of a run: of one, unless torchrun started it."""
    if not is_launched():
        yield ALONE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        host = dist.new_group(backend="gloo") if device.type == "cuda" else dist.group.WORLD
        yield Team(dist.get_rank(), dist.get_world_size(), host)
    finally:
        dist.destroy_process_group()
