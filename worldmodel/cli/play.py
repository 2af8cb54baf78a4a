"""`worldmodel play`: a model, to be played in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def play(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder, weights file, or a folder of an export. Default: the released weights."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8322,
    ema: Annotated[bool, typer.Option("--ema", help="The running mean of the weights, if the run keeps one.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page on this machine in which the model is played, and print where it is. Ctrl-C ends it."""
    import tempfile
    import webbrowser

    from worldmodel.evaluation.subject import released
    from worldmodel.web import site
    from worldmodel.web.play import Served

    with tempfile.TemporaryDirectory(prefix="worldmodel-play-") as folder:
        model = released() if run is None else run
        if not (model / site.CODEC).is_file():
            from worldmodel.export.folder import Options, export

            if model.exists():
                print(f"exporting {run} (half a minute) ...", flush=True)
            options = Options(sampling=True, ema=ema, report=False)
            export(model, Path(folder) / "export", options=options, say=lambda line: None)
            model = Path(folder) / "export"
        site.build(model, Path(folder) / "site", offline=False)
        with Served(Path(folder) / "site", port) as served:
            print(f"worldmodel play: {served.url}", flush=True)
            if open_page:
                webbrowser.open(served.url)
            try:
                served.serve_forever()
            except KeyboardInterrupt:
                print("ended")
