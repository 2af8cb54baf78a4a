"""Progress is silent when short, one line now and then where there is no terminal, a bar where there is."""

from __future__ import annotations

import io

import pytest

from worldmodel.tracking import progress as module
from worldmodel.tracking.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_short_work_is_silent(clock: list[float]) -> None:
    out = Terminal()
    with progress("counting", 10, stream=out) as shown:
        shown.advance(10)
    assert out.getvalue() == ""


def test_lines_where_there_is_no_terminal(clock: list[float]) -> None:
    out = io.StringIO()
    with progress("counting", 100, unit="things", stream=out) as shown:
        for _ in range(4):
            clock[0] += 20
            shown.advance(10)
    assert out.getvalue().splitlines() == ["counting: 20 of 100 things after 40 s, about 160 s left",
                                           "counting: 40 of 100 things after 80 s, about 120 s left"]  # fmt: skip


def test_a_bar_on_a_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with progress("counting", 100, unit="things", stream=out) as shown:
        clock[0] += 3
        shown.advance(10, description="[counting]")
        shown.message("a line that stays")
    assert "[counting]" in out.getvalue()
    assert "10/100" in out.getvalue()
    assert "a line that stays" in out.getvalue()
