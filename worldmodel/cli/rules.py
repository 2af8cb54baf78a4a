"""`worldmodel rules ...`: kill rules, listed and tried on past runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.cli.status import Runs
from worldmodel.errors import WrongUse

rules = typer.Typer(help="Kill rules: what there are, and where they would have fired.", no_args_is_help=True)


@rules.command("list")
def list_rules(as_json: Json = False) -> None:
    """Every rule with its arguments."""
    from worldmodel.runs.rulebook import SPECS, RuleSpec

    output = Output(as_json)
    rows, plain = [], {}
    for name, spec in SPECS.items():
        own = {key: field for key, field in spec.model_fields.items() if key not in RuleSpec.model_fields}
        told = ", ".join(key if field.is_required() else f"{key}={field.default}" for key, field in own.items())
        about = (spec.__doc__ or "").strip().partition("\n")[0]
        rows.append((name, told, about))
        plain[name] = {"arguments": list(own), "about": about}
    output.table(("rule", "arguments", "fires when"), rows)
    output.result(plain)


@rules.command()
def replay(
    run: Annotated[str, typer.Argument(help="Run folder, or its name.")],
    file: Annotated[Path | None, typer.Option("--rules", help="File of rules (default: the run's own).")] = None,
    card: Annotated[Path | None, typer.Option(help="Run card, whose rules are taken.")] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="One rule: 'below metric=val_change_acc threshold=0.6'. May be repeated.")
    ] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Where each rule would have fired on a past run."""
    from worldmodel.launch import board
    from worldmodel.launch.record import LiveRecord
    from worldmodel.launch.record import replay as replay_on
    from worldmodel.runs.card import CardFile
    from worldmodel.runs.card_rules import rulebook_of
    from worldmodel.runs.rulebook import Rulebook, one_rule, read_rules

    folder = board.find_run(run, runs)
    if sum((file is not None, card is not None, bool(rule))) > 1:
        raise WrongUse("more than one of --rules, --card, --rule", "one of them", "leave the others out")
    if rule:
        book = Rulebook(kill=[one_rule(text) for text in rule])
    elif card is not None:
        book = rulebook_of(CardFile.read(card).card, cards=card.parent)
    elif file is not None or folder.rules.exists():
        book = read_rules(file or folder.rules)
    else:
        raise WrongUse(f"{folder.path} has no rules of its own", "rules to try", "give --rules, --card or --rule")
    found = replay_on(book, LiveRecord(folder).look())
    output = Output(as_json)
    rows: list[tuple[Any, ...]] = []
    for each in found:
        fired = each.first
        at = "" if fired is None else f"step {fired.at_step:,}"
        at += "" if each.epoch is None else f", epoch {each.epoch:.3g}"
        says = (fired or each.last).reason
        rows.append(
            (each.rule.label, "fires" if fired else "waits" if each.last.state == "waiting" else "never", at, says)
        )
    output.table(("rule", "would have", "at", "because"), rows)
    output.result(
        {
            "rules": [
                {
                    "label": each.rule.label,
                    "fires": each.first is not None,
                    "epoch": each.epoch,
                    "first": each.first and each.first.as_json(),
                    "last": each.last.as_json(),
                }
                for each in found
            ]
        }
    )
