"""`worldmodel ingest`: replays in, a dataset out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output
from worldmodel.errors import WrongUse

FRAMES_PER_SECOND = 60


def ingest(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SRC...", help="Folders, .slp files, archives; any mix and nesting.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the dataset: new, or one to add to.")] = None,
    off: Annotated[list[str] | None, typer.Option("--off", metavar="FILTER", help="Switch a filter off.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", metavar="FILTER", help="Switch a filter on.")] = None,
    min_seconds: Annotated[float | None, typer.Option(help="Shortest game to take (default 30).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that parse (default: one per core).")] = None,
    keep_names: Annotated[bool, typer.Option(help="Store players' names instead of salted hashes.")] = False,
    list_filters: Annotated[bool, typer.Option("--list-filters", help="Show all filters and stop.")] = False,
    as_json: Json = False,
) -> int:
    """Read replays into a dataset. A second run adds only what is new.

    An encoded file of the reference system (.pt) becomes a dataset of its own; no code in it is run.
    """
    from worldmodel.replays.filters import DEFAULT_FILTERS, FILTERS, MIN_FRAMES, STRUCTURAL, check_names

    output = Output(as_json)
    if list_filters:
        states = {
            name: "always on" if name in STRUCTURAL else "on" if name in DEFAULT_FILTERS else "off" for name in FILTERS
        }
        rows = [(name, states[name], (rule.__doc__ or "").strip().splitlines()[0]) for name, rule in FILTERS.items()]
        output.table(("filter", "default", "rejects"), rows)
        output.result({name: state for name, state, _ in rows})
        return 0
    if not sources:
        raise WrongUse("no sources", "at least one folder, .slp file or archive", "worldmodel ingest SRC... --out DIR")
    if out is None:
        raise WrongUse("no --out", "the folder of the dataset", "worldmodel ingest SRC... --out DIR")
    if any(path.suffix == ".pt" for path in sources):
        return _convert(sources, out, output)
    if fixed := check_names(off or []) & STRUCTURAL:
        raise WrongUse(f"--off {sorted(fixed)[0]}", "a filter that can be off", "see worldmodel ingest --list-filters")

    from worldmodel.dataset.ingest import ingest as ingest_sources
    from worldmodel.replays.source import iter_sources
    from worldmodel.tracking.progress import progress

    ignored: list[str] = []
    with progress("reading replays", unit="files") as bar:
        report = ingest_sources(
            iter_sources(sources, on_ignored=ignored.append),
            out,
            filters=(DEFAULT_FILTERS | check_names(on or [])) - check_names(off or []),
            min_frames=MIN_FRAMES if min_seconds is None else round(min_seconds * FRAMES_PER_SECOND),
            workers=workers,
            keep_names=keep_names,
            progress=lambda files, frames: bar.advance(files, description=f"reading replays ({frames:,} frames)"),
        )

    seen = report.accepted + sum(report.rejected.values()) + report.duplicates + report.known
    output.say(
        f"{seen:,} replays in {report.seconds:.1f} s: {report.accepted:,} accepted ({report.frames:,} frames), "
        f"{sum(report.rejected.values()):,} rejected, {report.duplicates:,} duplicates, {report.known:,} known before"
        + (f"; {len(ignored):,} other files ignored" if ignored else "")
    )
    if report.rejected:
        output.table(("rejected because", "files"), Counter(report.rejected).most_common())
    output.say(
        f"{out}: {report.num_games:,} games, {report.num_frames:,} frames, "
        f"{report.bytes_per_frame:.1f} bytes per frame, content {report.content_hash[:16]}"
    )
    if report.interrupted:
        output.say("interrupted: what was read is kept; run the same command again to go on")
    elif not report.num_games:
        output.say("no game was accepted; see the reasons above, and `worldmodel ingest --list-filters`")
    else:
        output.say(f"next: worldmodel stats {out}")
    output.result({**asdict(report), "ignored": len(ignored), "dataset": str(out)})
    return 1 if report.interrupted else 0


def _convert(sources: list[Path], out: Path, output: Output) -> int:
    """The reference system's encoded file."""
    from worldmodel.dataset.encoded import LACKS, convert
    from worldmodel.tracking.progress import progress

    if len(sources) != 1:
        raise WrongUse(f"{len(sources)} sources with a .pt file", "the one file", "give each a dataset of its own")
    with progress(f"converting {sources[0].name}", unit="games") as bar:
        report = convert(sources[0], out, progress=lambda games, of: bar.advance(total=of))
    output.say(
        f"{report.accepted:,} games ({report.frames:,} frames) in {report.seconds:.1f} s, "
        f"{sum(report.rejected.values()):,} rejected, {report.known:,} known before"
    )
    if report.rejected:
        output.table(("rejected because", "games"), Counter(report.rejected).most_common())
    output.say(f"what such a file lacks: {LACKS}")
    output.say(f"{out}: {report.num_games:,} games, {report.num_frames:,} frames, content {report.content_hash[:16]}")
    output.say(f"next: worldmodel stats {out}")
    output.result({**asdict(report), "dataset": str(out)})
    return 0
