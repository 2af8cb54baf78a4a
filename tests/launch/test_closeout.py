"""Every end of a launched run comes onto its card, with real processes: by the supervisor, or by who looks next."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from carded import give_card, results, write_card
from fake_worker import Launches, is_cared_for, step_of, wait_for, worker_of

from worldmodel.launch import board
from worldmodel.launch.base import read_care
from worldmodel.launch.closeout import is_current, read_closed
from worldmodel.launch.local import Local, stop_processes
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import identity


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return write_card(tmp_path / "cards")


def launch(launches: Launches, card: Path, mode: str, **order: object) -> RunFolder:
    run = launches(mode, card=str(card), **order)
    give_card(run, card)
    return run


def over(run: RunFolder) -> None:
    wait_for(lambda: board.look(run, close=False).is_over and not is_cared_for(run))


def test_done(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "short")
    over(run)
    assert results(card).startswith("**Done:** every step. Step 20 of 10,000")
    assert is_current(run)
    assert card.with_name("run.curves.svg").exists()
    assert not run.ballast.exists()


def test_killed_again_and_stopped(launches: Launches, card: Path) -> None:
    """Between two lives the card tells of the first, after the end of both; it never says that the run is running."""
    run = launch(launches, card, "plain", retries=1)
    wait_for(lambda: step_of(run) >= 7)
    os.kill(worker_of(run), signal.SIGKILL)
    wait_for(lambda: (closed := read_closed(run)) is not None and closed.lives)
    assert "running" not in card.read_text()
    wait_for(lambda: (read_care(run).get("attempt")) == 2 and step_of(run) >= 12)
    stop_processes(run, wait_s=20)
    over(run)
    text = results(card)
    assert "with worldmodel stop** (SIGTERM), after it had saved" in text.splitlines()[0]
    assert "killed by SIGKILL" in text
    assert "it took 2 lives" in text


def test_who_looks_next_closes_what_nobody_closed(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "plain")
    worker = worker_of(run)
    wait_for(lambda: step_of(run) >= 3)
    os.kill(read_care(run)["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: not is_cared_for(run))
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: identity(worker) is None)
    assert "worldmodel:results" not in card.read_text()
    assert board.look(run).state == "vanished"
    assert results(card).startswith(f"**Vanished:** process {worker} is gone without a word")
    before = card.read_bytes()
    board.look(run)
    assert card.read_bytes() == before


def test_launched_and_never_begun(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "plain")
    process = wait_for(lambda: read_care(run).get("supervisor"))
    worker = worker_of(run)
    for pid in (process["pid"], worker):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: identity(worker) is None and identity(process["pid"]) is None)
    for path in (run.status, run.events):
        path.unlink(missing_ok=True)
    assert board.look(run).why == "vanished: was launched and never began"
    assert results(card).startswith("**Vanished:** was launched and never began")


@pytest.mark.slow
def test_a_crash_at_the_start(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "import-error")
    over(run)
    assert results(card).startswith(
        "**Crashed:** `exit code 1: ModuleNotFoundError: No module named 'no_such_package'`"
    )


@pytest.mark.slow
def test_a_run_that_goes_on_is_closed_anew(launches: Launches, card: Path) -> None:
    from worldmodel.launch.base import read_order

    run = launch(launches, card, "plain")
    wait_for(lambda: step_of(run) >= 7)
    stop_processes(run, wait_s=20)
    over(run)
    assert "SIGTERM" in results(card)
    order = read_order(run)
    assert order is not None
    Local().submit(run, order.model_copy(update={"again": [*order.again[:-1], "short"]}))
    wait_for(lambda: (closed := read_closed(run)) is not None and closed.state == "finished")
    assert results(card).startswith("**Done:**")
    assert "| 2 " in results(card)


def test_a_card_that_is_gone_or_damaged(launches: Launches, card: Path) -> None:
    """The run's own folder has the outcome; when the card is back, the next look writes it there."""
    run = launch(launches, card, "short")
    text = card.read_text()
    card.unlink()
    over(run)
    closed = read_closed(run)
    assert closed is not None
    assert closed.state == "finished"
    assert "NOT ON THE CARD" in run.care_log.read_text()
    card.write_text(text.replace("goal:", "gaol:"))
    assert board.look(run).state == "finished"  # and nothing is raised
    card.write_text(text)
    board.look(run)
    assert results(card).startswith("**Done:**")


def test_a_card_whose_run_folder_is_gone_stays_as_it_is(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "short")
    over(run)
    before = card.read_bytes()
    shutil.rmtree(run.path)
    assert card.read_bytes() == before


def test_a_card_that_was_changed_after_the_launch(launches: Launches, card: Path) -> None:
    run = launch(launches, card, "plain")
    wait_for(lambda: step_of(run) >= 3)
    card.write_text(card.read_text().replace("target: 0.6}", "target: 0.7}"))
    stop_processes(run, wait_s=20)
    over(run)
    assert "the card says something else now than when it was launched: targets" in results(card)
    assert "> 60%" in results(card), "judged by what was launched"
