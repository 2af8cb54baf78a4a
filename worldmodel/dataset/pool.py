"""Work done by several processes, its results taken in order, and at the price of one item when a process dies.

Owns: processes. Must not: know what the work is.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessDied:
    """Takes the place of a result: the process that worked on the item was killed, or crashed."""


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    start: Callable[..., None],
    given: tuple[Any, ...],
) -> Generator[tuple[Item, Result | ProcessDied]]:
    """(item, function(item)) in the order of items, computed by `workers` processes, a few items ahead.

    `start(*given)` runs first in each process. When a process dies, everything in flight is done again, one item at a
    time, each in a process of its own: the item that kills this one too has `ProcessDied` for its result.
    """
    source = iter(items)
    waiting: deque[tuple[Item, Future[_Parcel] | None]] = deque()
    pool = _pool(workers, start, given)
    try:
        while True:
            for new in islice(source, max(0, 2 * workers + 1 - len(waiting))):
                waiting.append((new, _submitted(pool, function, new)))
            if not waiting:
                return
            item, job = waiting.popleft()
            result = _result(job)
            if not isinstance(result, ProcessDied):
                yield item, result
                continue
            pool.shutdown()
            for suspect, unfinished in [(item, job), *waiting]:
                outcome = _alone(function, suspect, unfinished, start, given)
                yield suspect, outcome
            waiting.clear()
            pool = _pool(workers, start, given)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, function: Callable[[Item], Any], item: Item) -> Future[_Parcel] | None:
    try:
        return pool.submit(_parcel, function, item)
    except BrokenExecutor:
        return None


def _alone(
    function: Callable[[Item], Any],
    item: Item,
    job: Future[_Parcel] | None,
    start: Callable[..., None],
    given: tuple[Any, ...],
) -> Any:
    """The result of a job that ended before the pool broke; else of a second try, in a process of its own."""
    result = _result(job)
    if isinstance(result, ProcessDied):
        with _pool(1, start, given) as pool:
            result = _result(_submitted(pool, function, item))
    return result


def _result(job: Future[_Parcel] | None) -> Any:
    if job is None or job.cancelled():
        return ProcessDied()
    try:
        head, sizes, body = job.result()
    except BrokenExecutor:
        return ProcessDied()
    view, start, buffers = memoryview(body), 0, []
    for size in sizes:
        buffers.append(view[start : start + size])
        start += size + -size % _ALIGNMENT
    return pickle.loads(head, buffers=buffers)


_Parcel = tuple[bytes, list[int], bytes]
"""A result on its way between processes: its pickle, and the bytes of its arrays side by side, which the receiver
looks at where they lie."""

_ALIGNMENT = 8


def _parcel(function: Callable[[Item], Any], item: Item) -> _Parcel:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(function(item), protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    padded = [part for view in raw for part in (view, bytes(-view.nbytes % _ALIGNMENT))]
    return head, [view.nbytes for view in raw], b"".join(padded)


def _pool(workers: int, start: Callable[..., None], given: tuple[Any, ...]) -> ProcessPoolExecutor:
    # Spawned, not forked: the parent has threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(start, given))


def _start(start: Callable[..., None], given: tuple[Any, ...]) -> None:
    # The parent alone decides what an interrupt means; without a parent there is no more work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
