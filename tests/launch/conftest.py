"""Launches of fake workers, on devices of their own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_worker import WORKER, Launches


@pytest.fixture
def launches(tmp_path: Path) -> Iterator[Launches]:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    made = Launches(tmp_path / "runs", script)
    made.runs.mkdir()
    yield made
    made.end()


@pytest.fixture(autouse=True)
def locks_of_our_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices of the tests are not those of the machine."""
    place = tmp_path_factory.mktemp("locks")
    monkeypatch.setattr("worldmodel.launch.device.tempfile.gettempdir", lambda: str(place))
