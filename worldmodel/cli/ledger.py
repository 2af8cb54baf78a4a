"""`worldmodel ledger ...`: what earlier runs reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CARDS

ledger = typer.Typer(
    help="Earlier runs and what they reached: run folders, and results from elsewhere.", no_args_is_help=True
)

Cards = Annotated[Path, typer.Option(help="Folder of cards, where results from elsewhere are kept.")]
SHOWN = ("val_change_acc", "val_pos_mae", "val_loss/total")


@ledger.command(name="list")
def list_(
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    cards: Cards = CARDS,
    as_json: Json = False,
) -> None:
    """All earlier runs, oldest first. Held-out values of raw weights; of their running mean apart; training apart."""
    from worldmodel.runs.ledger import FILE, Ledger

    output = Output(as_json)
    found = Ledger(runs, cards / FILE)
    rows = [
        (
            entry.name,
            entry.data.name or (f"{entry.data.num_games:,} games" if entry.data.num_games else ""),
            entry.epochs,
            *(entry.val.get(metric) for metric in SHOWN),
            entry.val_ema.get(SHOWN[0]),
            entry.train.get("loss/total"),
            ", ".join(f"{name} {value:g}" for name, value in entry.unsaid.items()),
            entry.ended or ("" if entry.kind == "elsewhere" else "not ended"),
            entry.source if entry.kind == "elsewhere" else "",
        )
        for entry in found.entries
    ]
    header = ("run", "data", "epochs", *SHOWN, "ema val_change_acc", "train loss/total", "train or val not said")
    if rows:
        output.table((*header, "ended", "from elsewhere"), rows)
    else:
        output.say(f"no runs in {runs}, no results in {cards / FILE}")
    for name, problem in found.problems.items():
        output.say(f"NOT READ {runs / name}: {problem}")
    output.result({"entries": [entry.model_dump(mode="json") for entry in found.entries], "problems": found.problems})


@ledger.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the run.")],
    source: Annotated[str, typer.Option(help="Who says so: a card, a link, a person.")],
    val: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Held out: val_change_acc=0.684")] = None,
    train: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Training: loss/total=0.3")] = None,
    unsaid: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Nobody says which of the two: change_acc=0.775")
    ] = None,
    data: Annotated[str | None, typer.Option(help="What the dataset is called: 2K; or its content hash.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs that it was trained for.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What is known: data.context_len=60")
    ] = None,
    notes: Annotated[str, typer.Option(help="A line.")] = "",
    cards: Cards = CARDS,
    as_json: Json = False,
) -> None:
    """Enter a result that was measured elsewhere."""
    from worldmodel.runs import ledger as book

    if not (val or train or unsaid):
        raise WrongUse(f"{name} without a value", "at least one of --val, --train, --unsaid", "add --val NAME=VALUE")
    is_hash = data is not None and len(data) == 64 and set(data) <= set("0123456789abcdef")
    entry = book.result_from_elsewhere(
        name,
        source=source,
        val=_values(val),
        train=_values(train),
        unsaid=_values(unsaid),
        data={"content_hash" if is_hash else "name": data} if data else {},
        epochs=epochs,
        config=_config(config, epochs),
        notes=notes,
    )
    book.add(cards / book.FILE, [entry])
    output = Output(as_json)
    output.say(f"{cards / book.FILE}: {name} added")
    output.result({"file": str(cards / book.FILE), "entry": entry.model_dump(mode="json")})


def _values(pairs: list[str] | None) -> dict[str, float]:
    out = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        try:
            out[name.strip()] = float(text)
        except ValueError:
            raise WrongUse(f"{pair!r}", "NAME=NUMBER", "write it as val_change_acc=0.684") from None
    return out


def _config(pairs: list[str] | None, epochs: float | None) -> dict[str, Any]:
    from worldmodel.runs.strict import flat, values_of

    known: dict[str, Any] = {"training.epochs": int(epochs)} if epochs and epochs == int(epochs) else {}
    return known | flat(values_of(pairs or ()))
