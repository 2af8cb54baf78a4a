"""`docs/metrics.md`, written from the tables. Run `python -m worldmodel.evaluation.document > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable

from worldmodel.evaluation import counterfactual, dreams, starts, tiers
from worldmodel.evaluation.bootstrap import LEVEL, MIN_GAMES, NUM_RESAMPLES
from worldmodel.evaluation.closed_loop import COHERENCE_FRAMES, CURVE_METRICS, HORIZON_FRAMES, LONG_POINTS
from worldmodel.evaluation.compare import POWER
from worldmodel.evaluation.measures import START_CURVE, SURVIVALS
from worldmodel.evaluation.metrics import METRICS
from worldmodel.evaluation.protocol import DEFAULT_FORKS, Settings
from worldmodel.schema.contradictions import CONTRADICTIONS
from worldmodel.schema.events import EVENTS


def metrics_document() -> str:
    """The page, as Markdown."""
    return "\n".join([*_head(), *_step(), *_starts(), *_drift(), *_events(), *_holds(), *_forks(), *_compare()]) + "\n"


def _head() -> list[str]:
    return [
        "# Metrics",
        "",
        "Written by `python -m worldmodel.evaluation.document`; do not edit.",
        "",
        "Every metric is a ratio of two sums over frames of both players, kept per game. What a replay does not record",
        "counts in neither sum. Errors are taken on decoded frames, in the units of the fields. All of them are given",
        "for the model and for the naive baselines, which go through the same code.",
        "",
        f"Intervals: {LEVEL:.0%}, from {NUM_RESAMPLES:,} draws of whole games with replacement; differences to a",
        f"baseline are taken on the same draws. Fewer than {MIN_GAMES} games give none, and the result says why.",
        "A verdict is *beats* if the interval of the difference lies on the better side of zero for every baseline.",
        "",
        "The sums of every number are kept per game in `report/sums.arrow`, whose hash `report/result.json` names. A",
        "measure's name says where it was taken: `step/pos_mae`, `uniform/pos_mae@10`, `long/pos_mae@600`,",
        "`event/hit/recall`, `start/hit/recall`, `survival/near@120`, `contradiction/teleport`, `fork/changed@30`.",
    ]


def _step() -> list[str]:
    return [
        "",
        "## One step ahead",
        "",
        "Each held-out frame is predicted from the true frames before it.",
        "",
        *_table(
            ("metric", "better", "unit", "per", "what it is"),
            ((f"`{m.name}`", m.better, m.unit, m.counts, m.definition) for m in METRICS),
        ),
    ]


def _starts() -> list[str]:
    told = Settings(length=2, burn_in=0, weights={})
    return [
        "",
        "## Where rollouts start",
        "",
        "From a start frame of a held-out game, under the true pads of both players, a model runs on its own frames.",
        "Starts are frozen: a function of the seed, the games and the settings. They do not depend on how much a model",
        "is shown before them, so models of any context are measured on the same ones. The result holds one digest of",
        f"the data and of every list. No start lies before row {starts.EARLIEST_ROW}: until row 123 nobody can act.",
        "Over so many rows before it is counted how long a player has been dead, whatever the model is shown: when he",
        "comes back follows from it, and is no guess (decision 0016).",
        "",
        *_table(
            ("list", "starts", "frames", "which"),
            (
                ("uniform", f"{told.num_rollouts:,}", str(told.horizon), "spread evenly over games, uniform in each"),
                ("long", f"{told.num_long:,}", str(told.long_horizon), "the same; fewer, because they are long"),
                (
                    "events",
                    f"{told.num_per_event:,} of each kind",
                    str(starts.EVENT_HORIZON),
                    f"{starts.LEAD_FRAMES} frames before an event of a player: the rollout has to produce it",
                ),
                (
                    "reference",
                    f"{starts.REFERENCE_SEEDS:,}",
                    str(starts.REFERENCE_HORIZON),
                    f"as the reference system drew them: games and frames at random, seed {starts.REFERENCE_SEED}; "
                    "our held-out games stand for its last tenth",
                ),
            ),
        ),
    ]


def _drift() -> list[str]:
    coherence = ", ".join(str(frames) for frames in COHERENCE_FRAMES)
    far = ", ".join(str(frames) for frames in LONG_POINTS if frames > HORIZON_FRAMES)
    return [
        "",
        "## Drift",
        "",
        f"After each of 1 to {HORIZON_FRAMES} frames of uniform rollouts, and after {far} of long ones:",
        "",
        *_table(
            ("curve", "better", "unit", "per", "what it is"),
            ((f"`{m.name}`", m.better, m.unit, m.counts, m.definition) for m in CURVE_METRICS),
        ),
        "",
        f"*RC K*, rollout coherence, for K = {coherence}: mean of `pos_mae` over frames 1 to K, from uniform starts",
        "and, in lines of its own, from the reference's.",
        "",
        "A *tier* is reached if every number is better than its limit (the reference system's levels of use):",
        "",
        *_table(
            ("curve", "after", *tiers.NAMES),
            ((f"`{x.curve}`", f"{x.frames} frames", *(f"{limit:g}" for limit in x.limits)) for x in tiers.LIMITS),
        ),
    ]


def _events() -> list[str]:
    window = dreams.WINDOW_FRAMES
    return [
        "",
        "## Events in dreams",
        "",
        *_table(("event", "what it is"), ((f"`{event.name}`", event.doc) for event in EVENTS.values())),
        "",
        f"Two events match if they are of one kind and one player and at most {window} frames apart; one may match",
        f"several. The last {window} frames of a rollout are not scored, as the partner may lie beyond the end.",
        "",
        "- *recall* (found): of the true events, those with a dreamed one. *Precision* (right): of the dreamed ones,",
        "  those with a true one. *False per minute*: dreamed ones without, per minute of rollout, both players.",
        "- *per minute*: all of them, in truth and in dreams.",
        "- From conditioned starts: whether the very event of the start is dreamed, within the same window; and",
        f"  `{START_CURVE}` after {starts.EVENT_HORIZON} frames.",
    ]


def _holds() -> list[str]:
    return [
        "",
        "## How long a dream holds",
        "",
        "Share of long rollouts, by horizon, and the mean number of frames, with",
        "",
        *(f"- *{kind}*: {what};" for kind, what in SURVIVALS.items()),
        "",
        f"where an impossible state ({', '.join(f'`{kind}`' for kind in dreams.IMPOSSIBLE)}) is a number that is not",
        "finite or outside its bounds, a position on its bound, or more stocks than at the start, and a contradiction",
        "is one of these, of which the share of player-frames is given too, with that of true replays beside it:",
        "",
        *_table(("contradiction", "what it is"), ((f"`{rule.name}`", rule.doc) for rule in CONTRADICTIONS.values())),
    ]


def _forks() -> list[str]:
    return [
        "",
        "## Counterfactuals",
        "",
        f"{DEFAULT_FORKS} moments of the synthetic simulator, if the data is the simulator's, or as many as are asked",
        "for: two true futures each, as played and with one player's pads replaced by those of another game. Intervals",
        "are over moments.",
        "",
        *_table(
            ("measure", "better", "unit", "what it is"),
            ((f"`{m.name}`", m.better, m.unit, m.what) for m in counterfactual.MEASURES),
        ),
    ]


def _compare() -> list[str]:
    return [
        "",
        "## Two runs",
        "",
        "`worldmodel compare RUN_A RUN_B` takes the difference B - A of every number on the same draws of the same",
        "games, and refuses results of other data, starts or settings. Where the runs were trained on other windows,",
        "one step ahead is left out; where heads, codec or loss weights differ, losses are.",
        "",
        "*Smallest detectable effect*: the true difference that such an evaluation shows, with its whole interval on",
        f"one side, in {POWER:.0%} of cases: 2.80 standard errors of the paired difference.",
    ]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(header), _row(("---",) * len(header)), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(metrics_document(), end="")
