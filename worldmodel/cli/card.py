"""`worldmodel card ...`: run cards, from a new one to a signed one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse
from worldmodel.runs.card import CARDS

if TYPE_CHECKING:
    from worldmodel.cards.data import DataFacts
    from worldmodel.cards.questions import Finding
    from worldmodel.cards.view import View
    from worldmodel.runs.card import CardFile

card = typer.Typer(help="Run cards: decide, check, review and compare a run before it starts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the card's run, or its file.")]
Cards = Annotated[Path, typer.Option(help="Folder of cards.")]
Runs = Annotated[Path, typer.Option(help="Folder of run folders.")]
Data = Annotated[Path | None, typer.Option(help="Where the card's dataset lies now, if not where the card says.")]
RUNS = Path("runs")


@card.command()
def new(
    config: Annotated[str, typer.Option("--from", help="Experiment file, or the name of one that comes along.")],
    data: Annotated[Path, typer.Option(help="Folder of a dataset; its manifest and table of games are enough.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it: training.lr=3e-4")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run (default: the experiment's, and a number).")] = None,
    goal: Annotated[str | None, typer.Option(help="One line.")] = None,
    backend: Annotated[str, typer.Option(help="local, modal, slurm.")] = "local",
    gpu: Annotated[str | None, typer.Option(help="As the table of prices calls it: A100-40GB.")] = None,
    usd: Annotated[float | None, typer.Option(help="Budget.")] = None,
    batch_ms: Annotated[float | None, typer.Option(help="A guess of a step's time, until a plan measures it.")] = None,
    reviewer: Annotated[list[str] | None, typer.Option(help="Who must approve; may be given again.")] = None,
    cards: Cards = CARDS,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Write a card whose every number is computed."""
    from worldmodel.cards.new import Wishes, new_card
    from worldmodel.cards.view import Places

    budget = {"usd": usd, "pessimistic_factor": 5.0} if usd is not None else None
    estimate = {"batch_s": batch_ms / 1000, "source": "a guess, given with card new"} if batch_ms is not None else None
    more: dict[str, Any] = {
        "backend": {"name": backend} | ({"gpu": gpu} if gpu else {}),
        "budget": budget,
        "estimate": estimate,
        "reviewers": {"required": reviewer} if reviewer else None,
    }
    wishes = Wishes(name=name, goal=goal, more=more)
    view = new_card(config, data, Places(cards, runs), overrides=overrides or (), wishes=wishes)
    output = Output(as_json)
    output.say(f"wrote {view.file.path}, hash {view.hash}")
    facts = view.facts
    output.say(
        f"{facts.data.num_games:,} games, {facts.examples.train} examples to train on, "
        f"{facts.batches_per_epoch} batches an epoch, {facts.num_parameters:,} parameters"
    )
    if view.news and view.news[0].warning:
        output.say(f"WARNING against {view.news[0].entry.name}: {view.news[0].warning}")
    output.say(f"next: set goal and targets, then worldmodel card check {view.file.card.run}")
    output.result({"card": str(view.file.path), "hash": view.hash} | _numbers(view))


@card.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Cards (default: all).")] = None,
    write: Annotated[bool, typer.Option("--write", help="Bring stale tables up to date.")] = False,
    data: Data = None,
    cards: Cards = CARDS,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> int:
    """Fail on a card that does not say what is so: stale tables, unknown names, another dataset."""
    from worldmodel.cards.check import check as check_card
    from worldmodel.cards.check import up_to_date
    from worldmodel.cards.view import Places
    from worldmodel.runs.card import CardFile, find_card

    output, places = Output(as_json), Places(cards, runs)
    paths = [find_card(name, cards) for name in names] if names else sorted(cards.glob("*.md"))
    if not paths:
        raise WrongUse(f"no cards in {cards}", "at least one", "worldmodel card new --from CONFIG --data DATASET")
    results: list[dict[str, Any]] = []
    num_bad = 0
    for path in paths:
        try:
            file = CardFile.read(path)
        except WrongUse as error:
            if names:
                raise
            output.say(f"PROBLEM {error}")
            results.append({"card": str(path), "problems": [str(error)], "stale": {}})
            num_bad += 1
            continue
        report = check_card(file, places, data=_data(file, data))
        stale = report.stale
        if write and report.view is not None and stale:
            up_to_date(report.view).write()
            output.say(f"{path}: wrote {', '.join(stale)}")
            stale = {}
        for problem in report.problems:
            output.say(f"PROBLEM {problem}")
        for table, lines in stale.items():
            output.say(f"STALE {path}: {table}")
            for line in lines:
                output.say(f"  {line}")
        num_bad += bool(report.problems or stale)
        results.append({"card": str(path), "problems": report.problems, "stale": stale})
        if not report.problems and not stale:
            output.say(f"{path}: in order")
    if num_bad and not write and any(result["stale"] for result in results):
        output.say("stale tables: worldmodel card check --write NAME brings them up to date")
    output.result({"cards": results})
    return 1 if num_bad else 0


@card.command()
def show(name: Name, data: Data = None, cards: Cards = CARDS, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Everything of a card on the terminal: facts, reviews, and what a reviewer would ask."""
    from worldmodel.cards.lint import lint as ask
    from worldmodel.cards.show import show as show_on

    view = _view(name, data, cards, runs)
    findings = ask(view)
    output = Output(as_json)
    show_on(view, findings, output.console)
    output.result(_numbers(view) | _signed(view) | {"findings": _plain(findings)})


@card.command()
def lint(name: Name, data: Data = None, cards: Cards = CARDS, runs: Runs = RUNS, as_json: Json = False) -> int:
    """Ask what a reviewer would ask; exit 1 if an answer stands in the way of a launch."""
    from worldmodel.cards.lint import lint as ask
    from worldmodel.cards.show import findings_table

    findings = ask(_view(name, data, cards, runs))
    output = Output(as_json)
    output.console.print(findings_table(findings, output.console.width))
    output.result({"findings": _plain(findings)})
    return 1 if any(finding.severity == "blocker" for finding in findings) else 0


@card.command()
def review(
    name: Name,
    by: Annotated[str, typer.Option(help="Who reviews: the name that the card asks for.")],
    approve: Annotated[bool, typer.Option("--approve", help="It may run.")] = False,
    block: Annotated[bool, typer.Option("--block", help="It must not run as it is.")] = False,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    cards: Cards = CARDS,
    as_json: Json = False,
) -> None:
    """Sign the card as it is now. Any change to what it says voids the signature; prose may change."""
    from worldmodel.cards.view import hash_of
    from worldmodel.runs.card import CardFile, find_card, new_review, sign_off

    if approve == block:
        raise WrongUse("both or none of --approve and --block", "one of them", "say which")
    if not by.strip():
        raise WrongUse("--by with no name", "who reviews", "add --by NAME")
    if block and not comment:
        raise WrongUse("--block without --comment", "a reason that somebody can act on", "add --comment TEXT")
    file = CardFile.read(find_card(name, cards))
    if by not in file.card.reviewers.required and file.card.reviewers.required:
        required = ", ".join(file.card.reviewers.required)
        Output(True).say(f"note: {by} is not among the reviewers that the card asks for ({required})")
    hash = hash_of(file)
    signed = file.with_review(new_review(by=by, verdict="approve" if approve else "block", comment=comment, hash=hash))
    signed.document.write()
    output = Output(as_json)
    state = sign_off(signed.card, hash)
    output.say(f"{file.path}: {'approved' if approve else 'blocked'} by {by}, hash {hash}")
    output.say(f"{state.state}: {state.in_words()}" if state.in_words() else state.state)
    output.result({"card": str(file.path), "hash": hash, "state": state.state, "missing": state.missing})


@card.command()
def ablate(name: Name, data: Data = None, cards: Cards = CARDS, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Write one card per changed variable: this run with that variable as it was before."""
    from worldmodel.cards.ablate import ablate as write_cards

    view = _view(name, data, cards, runs)
    made = write_cards(view)
    output = Output(as_json)
    output.say(f"against {view.news[0].entry.name}:")
    for ablation in made:
        words = f"{ablation.path} {ablation.why}".strip() if ablation.path else f"not written, {ablation.why}"
        output.say(f"  {ablation.change.variable} ({ablation.change.after} -> {ablation.change.before}): {words}")
    output.result(
        {
            "against": view.news[0].entry.name,
            "cards": {a.change.variable: str(a.path) if a.path else None for a in made},
        }
    )


@card.command()
def launch(
    name: Name,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it is well begun.")] = False,
    share_device: Annotated[bool, typer.Option("--share-device", help="Though another run has the device.")] = False,
    instead_of: Annotated[
        str | None, typer.Option(hidden=True, help="The run whose fallback this one is; its supervisor says so.")
    ] = None,
    data: Data = None,
    cards: Cards = CARDS,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> int:
    """Launch what the card says, under its rules; refused unless the card is in order and signed as it is now."""
    from worldmodel.cards.calibration import settle
    from worldmodel.cards.gate import permit, rules_of
    from worldmodel.cards.orders import asks_of, train_words
    from worldmodel.launch import start
    from worldmodel.runs import atomic, strict

    view = _view(name, data, cards, runs)
    permit(view)
    settle(cards, runs, view.ledger)  # while the run folders are there that earlier plans were about
    run, backend = view.file.card.run, view.file.card.backend
    # A queue may read it much later, so it lies beside the cards; the run keeps a copy of its own.
    rules = cards / "rules" / f"{run}.yaml"
    rules.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(rules, strict.dump(rules_of(view)))
    output = Output(as_json)
    resolved = view.resolved
    done = start.launch(
        train_words(
            view.file.card,
            config=resolved.path,
            overrides=[*resolved.overrides],
            data=view.facts.data.path,
            rules=rules,
        ),
        stem=run,
        runs=runs,
        name=run,
        backend=backend.name,
        retries=backend.retries,
        time_limit_s=backend.timeout_s and float(backend.timeout_s * (1 + backend.retries)),
        asks=asks_of(view.file.card, cards),
        processes=backend.devices,
        share_device=share_device,
        card=start.Carded(view.file.path, view.file.document.text, view.hash, instead_of),
        wait=not detach,
        tell=lambda what, text: output.say(f"{what:>10}  {text}"),
    )
    if done.said:
        output.say(done.said)
    if not done.exit_code:
        output.say(f"next: worldmodel watch {done.run.path}")
    output.result({"run": str(done.run.path), "hash": view.hash, "exit_code": done.exit_code})
    return done.exit_code


@card.command()
def close(
    name: Name,
    run: Annotated[Path | None, typer.Option(help="Its run folder, if it has not the card's name.")] = None,
    cards: Cards = CARDS,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Write a run's results onto its card, from its artefacts: what ended it, targets, cost, checkpoints, curves.

    Launched runs do this by themselves when they end, or when somebody looks at them. Twice is as good as once.
    """
    from worldmodel.cards.calibration import settle
    from worldmodel.launch import board, closeout
    from worldmodel.launch.results import end_words
    from worldmodel.runs.card import find_card

    path = find_card(name, cards)
    folder = board.find_run(str(run or path.stem), runs)
    sight = board.look(folder)
    done = closeout.close(folder, card=path)
    output = Output(as_json)
    output.say(f"{folder.path} is {sight.state}: {end_words(done.outcome).replace('**', '')}")
    for target in done.outcome.targets:
        word = {None: "not measured", True: "met", False: "missed"}[target.is_met]
        value = "" if target.value is None else f", {target.value:.4g} of {target.target:g} ({target.source})"
        output.say(f"target {target.metric}: {word}{value}")
    plans = settle(cards, folder.path.parent)
    for found in plans.outcomes:
        if found.run == folder.id and (ratio := found.total_s.ratio) is not None:
            output.say(f"it took {ratio:.2f} times its plan (worldmodel plan --calibration)")
    written = [str(file) for file in done.written]
    output.say(f"wrote {', '.join(written)}" if written else f"{path} said so already")
    output.result({"card": str(path), "written": written} | done.outcome.model_dump(mode="json"))


def _data(file: CardFile, data: Path | None) -> DataFacts | None:
    """Of a dataset that was named on the command line; it must be the card's."""
    from worldmodel.cards.view import find_data

    return None if data is None else find_data(file, data)


def _view(name: str, data: Path | None, cards: Path, runs: Path) -> View:
    from worldmodel.cards.view import Places, view_of
    from worldmodel.runs.card import CardFile, find_card

    file = CardFile.read(find_card(name, cards))
    return view_of(file, Places(cards, runs), data=_data(file, data))


def _numbers(view: View) -> dict[str, Any]:
    facts, timing = view.facts, view.timing
    return {
        "run": view.file.card.run,
        "num_games": facts.data.num_games,
        "num_frames": facts.data.num_frames,
        "train_examples": facts.examples.train.value,
        "val_examples": facts.examples.val.value,
        "is_exact": facts.examples.train.is_exact,
        "num_parameters": facts.num_parameters,
        "batches_per_epoch": facts.batches_per_epoch.value,
        "num_steps": facts.num_steps.value,
        "rows_per_epoch": facts.rows_per_epoch,
        "total_s": timing.total_s if timing else None,
        "usd": timing.usd if timing else None,
        "changed": [change.variable for change in view.news[0].changes] if view.news else None,
    }


def _signed(view: View) -> dict[str, Any]:
    found = view.sign_off
    return {"hash": view.hash, "review": found.state, "missing": found.missing}


def _plain(findings: list[Finding]) -> list[dict[str, str]]:
    return [{"question": f.question, "severity": f.severity, "message": f.message} for f in findings]


@card.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="A run card that was written by hand.")],
    data: Annotated[Path, typer.Option(help="Its dataset; a manifest and table of games are enough.")],
    config: Annotated[str | None, typer.Option("--from", help="Instead of the experiment that it names.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the run, instead of the card's.")] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Known of all its prior runs: scheduled_sampling=null"),
    ] = None,
    cards: Cards = CARDS,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> int:
    """Take over a card that people wrote: compute every number in it and compare; exit 1 if one disagrees."""
    from worldmodel.cards.importing import import_card
    from worldmodel.cards.view import Places
    from worldmodel.runs.strict import flat, values_of

    known = flat(values_of(prior)) if prior else {}
    done = import_card(file, data, Places(cards, runs), config=config, name=name, prior_config=known)
    output = Output(as_json)
    rows = [(row.quantity, row.says, row.computed, row.agrees) for row in done.rows]
    output.table(("quantity", "the card says", "computed", "agrees"), rows)
    output.say(f"{len(rows)} quantities computed, {len(done.disagreements)} disagree")
    if done.added:
        output.say(f"ledger: {', '.join(done.added)}")
    output.say(f"wrote {done.view.file.path}; next: worldmodel card lint {done.view.file.card.run}")
    keys = ("quantity", "says", "computed", "agrees")
    output.result(
        {"card": str(done.view.file.path), "rows": [dict(zip(keys, row, strict=True)) for row in rows]}
        | {"disagreements": len(done.disagreements), "ledger": done.added}
    )
    return 1 if done.disagreements else 0
