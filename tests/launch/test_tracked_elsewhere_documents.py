"""What docs/modal.md and docs/tracking.md say can be typed and is asked for, is so."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main

from worldmodel.cli import make_app
from worldmodel.launch.modal_asks import DATA, PARTS, PREFIX, RUNS, Declaration
from worldmodel.tracking.mirror import POLICIES
from worldmodel.training import machine

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODAL, TRACKING = ((DOCS / name).read_text() for name in ("modal.md", "tracking.md"))


def commands(text: str, first: str) -> list[list[str]]:
    """Commands of the fenced blocks, also those after `$ ` and `&&`."""
    blocks = "\n".join(re.findall(r"```(?:bash|text)\n(.*?)```", text, re.DOTALL))
    lines = [part.strip() for line in blocks.splitlines() for part in line.partition("  #")[0].split("&&")]
    return [shlex.split(line.removeprefix("$ ")) for line in lines if line.removeprefix("$ ").startswith(f"{first} ")]


@pytest.mark.parametrize("words", commands(MODAL, "worldmodel") + commands(TRACKING, "worldmodel"), ids=" ".join)
def test_our_commands_are_understood(words: list[str]) -> None:
    command: click.Command = typer.main.get_command(make_app())
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(command.name, rest)


@pytest.mark.skipif(importlib.util.find_spec("modal") is None, reason="Modal's client is not installed (extra `modal`)")
@pytest.mark.parametrize("words", [words for words in commands(MODAL, "modal") if words[1] == "run"], ids=" ".join)
def test_modals_commands_are_understood(words: list[str]) -> None:
    """By the client that reads them: it makes options of the function's parameters."""
    from click.testing import CliRunner
    from modal.cli.entry_point import entrypoint_cli

    words = [word for word in words[1:] if word != "--detach"]
    place = words.index(next(word for word in words if "::" in word))
    asked = [word for word in words[place + 1 :] if word.startswith("--")]
    shown = CliRunner().invoke(entrypoint_cli, [*words[: place + 1], "--help"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert [option for option in asked if option not in shown.output] == []


def test_what_is_asked_for_is_what_the_table_says() -> None:
    rows = dict(re.findall(rf"\| `{PREFIX}(\w+)` \|([^|]*)\|", MODAL))
    defaults = {name.upper(): getattr(Declaration(), name) for name in Declaration.__slots__}
    volumes = {name for name in defaults if name.endswith("_VOLUME")}
    assert rows.keys() == defaults.keys() - volumes
    assert f"`{PREFIX}DATA_VOLUME`, `..._RUNS_VOLUME`, `..._PARTS_VOLUME`" in MODAL
    for name, value in defaults.items():
        if name not in volumes:
            assert rows[name].strip() == (f"`{value}`" if value not in ("", None) else ""), name
    for name, where in (("data", DATA), ("runs", RUNS), ("parts", PARTS)):
        assert f"| `{getattr(Declaration(), f'{name}_volume')}` | `{where}`" in MODAL


def test_the_refusal_of_a_budget_is_word_for_word() -> None:
    with pytest.raises(Exception, match="at the very worst") as caught:
        Declaration.of({"budget_usd": 125}, {})
    assert f"worldmodel: {caught.value}" in MODAL


def test_policies_and_names_of_the_machine() -> None:
    assert re.findall(r"^\| `(\w+)` \|", TRACKING, re.MULTILINE) == list(POLICIES)
    names = set(re.findall(r'"((?:cpu|process|host|gpu)_\w+)"', Path(machine.__file__).read_text()))
    assert names == set(re.findall(r"`((?:cpu|process|host|gpu)_\w+)`", TRACKING))
