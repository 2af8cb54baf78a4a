"""Order, bounds, and the price of a dead process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from worldmodel.dataset.pool import ProcessDied, in_order

_OFFSET = [0]


def _prepare(offset: int) -> None:
    _OFFSET[0] = offset


def _work(item: int) -> int:
    if item in (7, 8):
        os.kill(os.getpid(), signal.SIGSEGV)
    return item + _OFFSET[0]


def test_a_crash_costs_its_item_and_no_other() -> None:
    found = list(in_order(_work, range(14), workers=2, start=_prepare, given=(100,)))
    assert [item for item, _ in found] == list(range(14))
    assert {item for item, result in found if isinstance(result, ProcessDied)} == {7, 8}
    assert [result for item, result in found if item not in (7, 8)] == [100 + k for k in range(14) if k not in (7, 8)]


def test_items_are_taken_only_a_few_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for k in range(20, 60):
            taken.append(k)
            yield k

    results = in_order(_work, items(), workers=2, start=_prepare, given=(0,))
    assert next(results)[1] == 20
    assert len(taken) <= 2 * 2 + 1
    results.close()
