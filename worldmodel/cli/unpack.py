"""`worldmodel unpack`: the dataset out of a packed file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def unpack(
    file: Annotated[Path, typer.Argument(help="Archive that `worldmodel pack` wrote.")],
    dataset: Annotated[Path, typer.Argument(help="Folder to make.")],
    as_json: Json = False,
) -> None:
    """Unpack a dataset, with the same content hash as the one that was packed."""
    from worldmodel.dataset.pack import unpack as unpack_dataset
    from worldmodel.tracking.progress import progress

    output = Output(as_json)
    with progress("unpacking", unit="shards") as bar:
        made = unpack_dataset(file, dataset, progress=bar.advance)
    output.say(f"{dataset}: {made.num_games:,} games, {made.num_frames:,} frames, content {made.content_hash[:16]}")
    output.result(
        {
            "dataset": str(dataset),
            "games": made.num_games,
            "frames": made.num_frames,
            "content_hash": made.content_hash,
        }
    )
