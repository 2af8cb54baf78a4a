"""`worldmodel pack`: a dataset as one small file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldmodel.cli.output import Json, Output


def pack(
    dataset: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    file: Annotated[Path, typer.Argument(help="Archive to write.")],
    as_json: Json = False,
) -> None:
    """Pack a dataset into one archive, to send it where there are no replays and no parser."""
    from worldmodel.dataset.pack import pack as pack_dataset
    from worldmodel.dataset.store import open_dataset
    from worldmodel.tracking.progress import progress

    output = Output(as_json)
    opened = open_dataset(dataset)
    with progress("packing", unit="shards") as bar:
        num_bytes = pack_dataset(opened, file, progress=bar.advance)
    per_frame = num_bytes / max(1, opened.num_frames)
    output.say(f"{file}: {num_bytes:,} bytes, {per_frame:.2f} per frame, of {opened.num_games:,} games")
    output.say(f"next: worldmodel unpack {file} DATASET")
    output.result(
        {
            "file": str(file),
            "bytes": num_bytes,
            "frames": opened.num_frames,
            "games": opened.num_games,
            "bytes_per_frame": per_frame,
            "content_hash": opened.content_hash,
        }
    )
