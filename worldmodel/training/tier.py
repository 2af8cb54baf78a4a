"""Where the blocks of an epoch lie, and how they get there: read ahead by one thread, at most two at a time.

Owns: placement and prefetch. Must not: decide what is in a batch: batches are the same wherever blocks lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from worldmodel.dataset.rows import ROW
from worldmodel.dataset.windows import Windows

Home = Literal["device", "host"]
T = TypeVar("T")

DEVICE_SHARE = 0.6
"""Of the device's free memory, for blocks: the rest is for the model, its gradients and what a step computes."""


@dataclass(frozen=True, slots=True)
class Tier:
    """name: "device": blocks lie on the device; "host": windows are cut on the host and go over one batch at a time.

    streamed: an epoch has several blocks, and the next is read while one is trained on; else its one block is kept.
    block_bytes: of the largest block, as far as one process holds it. Figures are those of the first epoch; later ones
    deal the games anew and differ by a game or so.
    """

    name: Home
    streamed: bool
    num_blocks: int
    block_bytes: int
    windows_per_block: int
    share_of_games: float

    def describe(self) -> str:
        """Placement and quality of the shuffle, for the plan."""
        size = f"{self.block_bytes / 1e6:,.0f} MB"
        if not self.streamed:
            return f"all windows shuffled among each other; {size} kept in {self.name} memory"
        return (
            f"{self.num_blocks} blocks of {self.windows_per_block:,} windows, shuffled within a block; a block mixes "
            f"{self.share_of_games:.1%} of all games, dealt anew each epoch; two blocks of {size} at a time in "
            f"{self.name} memory, the next one read ahead"
        )


def choose_tier(windows: Windows, device: torch.device, *, share: float = 1.0, home: Home | None = None) -> Tier:
    """The tier of a run. share: part of each block that this process holds. home: where, if not left to memory."""
    blocks = list(windows.blocks(0))
    streamed = not windows.is_one_block
    block_bytes = int(max((block.num_frames for block in blocks), default=0) * share) * ROW.num_bytes
    if home is None:
        home = "host"
        if device.type == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info(device)
            home = "device" if block_bytes * (1 + streamed) <= free_bytes * DEVICE_SHARE else "host"
    return Tier(
        name=home,
        streamed=streamed,
        num_blocks=len(blocks),
        block_bytes=block_bytes,
        windows_per_block=windows.num_windows // max(1, len(blocks)),
        share_of_games=sum(len(block.games) for block in blocks) / max(1, len(blocks)) / max(1, len(windows.games)),
    )


def read_ahead(load: Sequence[Callable[[], T]]) -> Iterator[T]:
    """The results of the calls, in order; each is under way while the one before is used.

    A result is let go of here before the next call but one begins, so if the consumer does the same there are never
    more than two. What a call raises is raised here. Closing the iterator waits for a call under way.
    """
    if not load:
        return
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blocks")
    try:
        # One by one, under one name: a future holds its result for as long as it is held itself.
        coming = pool.submit(load[0])
        for following in load[1:]:
            result = coming.result()
            coming = pool.submit(following)
            yield result
            del result
        yield coming.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
