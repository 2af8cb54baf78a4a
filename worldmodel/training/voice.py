"""Words for people that cannot end a run: a terminal that goes away is no reason to stop.

Owns: dropping and counting what nobody can hear, and standard streams that survive their reader. Must not: decide what
is said.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO, cast


@dataclass(slots=True)
class Voice:
    """Says lines to people. Where nobody can hear them any more they are dropped and counted, and the run goes on."""

    say: Callable[[str], None]
    num_lost: int = 0

    def __call__(self, text: str) -> None:
        try:
            self.say(text)
        except OSError:
            self.num_lost += 1


@dataclass(slots=True)
class _Lasting:
    """A standard stream whose writes never fail: when its reader is gone, it leads nowhere from then on."""

    stream: TextIO
    voice: Voice
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def give_up_if_gone(self) -> None:
        """The same without a write, for what is written later: a result, and what the interpreter flushes."""
        handle = _handle(self.stream)
        if handle is None or not hasattr(select, "poll"):
            return
        asked = select.poll()
        asked.register(handle, select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in asked.poll(0)):
            _lead_nowhere(handle)

    def _give_up(self) -> None:
        with self._lock:
            self.voice.num_lost += 1
            handle = _handle(self.stream)
            if handle is not None:
                _lead_nowhere(handle)


def _handle(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a stream without a file behind it, or a closed one
        return None


def _lead_nowhere(handle: int) -> None:
    """What is buffered can then be flushed too, at the latest when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, handle)
    finally:
        os.close(nowhere)


@contextmanager
def lasting_output(voice: Voice) -> Iterator[None]:
    """Inside the `with` standard output and error cannot end the process: a closed terminal is no reason to stop."""
    before = sys.stdout, sys.stderr
    lasting = [_Lasting(stream, voice) for stream in before]
    sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in lasting)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in lasting:
            stream.give_up_if_gone()
