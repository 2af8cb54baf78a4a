"""`docs/metrics.md`, written from the table. Run `python -m worldmodel.evaluation.document > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable

from worldmodel.evaluation.bootstrap import LEVEL, MIN_GAMES, NUM_RESAMPLES
from worldmodel.evaluation.closed_loop import COHERENCE_FRAMES, CURVES, HORIZON_FRAMES
from worldmodel.evaluation.dreams import IMPOSSIBLE
from worldmodel.evaluation.metrics import METRICS


def metrics_document() -> str:
    """The page, as Markdown."""
    coherence = ", ".join(str(frames) for frames in COHERENCE_FRAMES)
    lines = [
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
        "## One step ahead",
        "",
        "Each held-out frame is predicted from the true frames before it.",
        "",
        *_table(
            ("metric", "better", "unit", "per", "what it is"),
            ((f"`{m.name}`", m.better, m.unit, m.counts, m.definition) for m in METRICS),
        ),
        "",
        f"## Rollouts of {HORIZON_FRAMES} frames",
        "",
        "From seeded start frames of held-out games, with the true pads, a model runs on its own frames. Followed over",
        f"the horizon: {', '.join(f'`{name}`' for name in CURVES)}.",
        "",
        f"*RC K*, rollout coherence, for K = {coherence}: mean of `pos_mae` over frames 1 to K of the rollouts.",
        "",
        f"A rollout is impossible ({', '.join(f'`{kind}`' for kind in IMPOSSIBLE)}) if a number is not finite, lies",
        "outside its bounds, a position lies on its bound, or a player has more stocks than at the start.",
    ]
    return "\n".join(lines) + "\n"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(header), _row(("---",) * len(header)), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(metrics_document(), end="")
