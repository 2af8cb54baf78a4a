"""Questions about what can be learned from a run.

Owns: these questions. Must not: measure anything; what only a measurement can answer says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from worldmodel.cards.questions import Answer, question
from worldmodel.cards.view import View
from worldmodel.dataset.games import VALIDATION_SHARE
from worldmodel.schema import LAYOUT
from worldmodel.training.disturbance import TOUCHED


@question
def one_variable(view: View) -> Iterator[Answer]:
    """Can a result be put down to something?"""
    if not view.news:
        yield "warning", "no earlier run to compare with: add some to baselines"
        return
    nearest = view.news[0]
    if nearest.warning:
        yield "warning", f"against {nearest.entry.name}, {nearest.warning}; worldmodel card ablate {view.file.card.run}"
    else:
        what = nearest.changes[0].variable if nearest.changes else "nothing that is recorded"
        yield "ok", f"against {nearest.entry.name}, {what} changes"
    if nearest.num_unknown:
        yield "note", f"of {nearest.entry.name} {nearest.num_unknown} keys are not recorded: more may have changed"


@question
def targets(view: View) -> Iterator[Answer]:
    """Is it said before what would be a success?"""
    card = view.file.card
    if not card.targets:
        yield "warning", "no targets: any result would be one"
    elif not view.facts.validations_per_epoch:
        yield "blocker", "targets, and no validation that could meet them: training.val_windows is 0"
    else:
        yield "ok", f"{len(card.targets)} targets"


@question
def noise_reaches_its_value(view: View) -> Iterator[Answer]:
    """The mission's run never saw the noise that its card names."""
    sampling, num = view.experiment.scheduled_sampling, view.experiment.training.epochs
    if sampling is None:
        return
    share = min(1.0, (num - 1) / sampling.anneal_epochs)
    if share == 0:
        yield "warning", "scheduled sampling is off in the first epoch, and there is no other"
    elif share < 1:
        rate, noise = sampling.rate * share, sampling.noise * share
        yield (
            "warning",
            (
                f"scheduled sampling ends at rate {rate:.3g}, noise {noise:.3g}, not {sampling.rate:g} and "
                f"{sampling.noise:g}: anneal_epochs {sampling.anneal_epochs} needs {sampling.anneal_epochs + 1} epochs"
            ),
        )
    yield "note", "scheduled sampling is off in epoch 1: rules that judge epoch 1 say nothing about it"


@question
def noise_mask(view: View) -> Iterator[Answer]:
    """What noise touches, on a real batch."""
    sampling = view.experiment.scheduled_sampling
    if sampling is None:
        return
    may = [LAYOUT.numbers[index].name for index in TOUCHED]
    seen = next((e for e in view.ledger.newest_runs() if e.disturbed and e.config.get("scheduled_sampling.rate")), None)
    if seen is None or seen.disturbed is None:
        yield "not measured", f"no run has shown its noise on a real batch; by the schema it may touch {', '.join(may)}"
    elif extra := sorted(set(seen.disturbed) - set(may)):
        yield "blocker", f"in {seen.name} noise touched {', '.join(extra)}, which it must not"
    else:
        yield "ok", f"in {seen.name} noise touched {', '.join(seen.disturbed)} and nothing else"


@question
def split(view: View) -> Iterator[Answer]:
    """Are there enough games held out, and not too many?"""
    share = 1 - view.facts.data.train_share
    if view.facts.data.lengths is None and view.facts.data.splits is None:
        yield "not measured", "the split: only a manifest is here, from before it was in there"
    elif not VALIDATION_SHARE / 2 <= share <= 2 * VALIDATION_SHARE:
        yield "warning", f"{share:.1%} of the games are held out, not a tenth: the dataset is small, or few people's"
    else:
        yield "ok", f"{share:.1%} of the games are held out"
