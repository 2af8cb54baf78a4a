"""SIGINT and SIGTERM as a request: finish the step, save, leave. A second one ends the process as usual.

Owns: signal handlers for the time of a run. Must not: save anything itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set by a signal, read by the loop between two steps."""

    def __init__(self) -> None:
        self.reason: str | None = None


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Listen inside the `with`. Outside the main thread signals cannot be had, and the request is never set."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def listen(number: int, frame: FrameType | None) -> None:
        request.reason = signal.Signals(number).name
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, listen)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
