"""`worldmodel ui`: runs, data, replays and dreams in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ui(
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    data: Annotated[Path | None, typer.Option(help="Dataset to look into and to dream from.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of an export to play against (default: the released one, if there is).")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8321,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anything but loopback shows your runs to the network.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="Host name it may be asked by, besides addresses. May be repeated.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the local app on this machine, and print where it is. Ctrl-C ends it; runs go on."""
    import webbrowser

    from worldmodel.errors import WrongUse
    from worldmodel.web.extra import need_all

    need_all()
    from worldmodel.evaluation.subject import RELEASED
    from worldmodel.web.server import Listening, make_app
    from worldmodel.web.site import CODEC, MODEL, read_codec

    if runs.exists() and not runs.is_dir():
        raise WrongUse(f"{runs} is a file", "a folder of run folders", "name another folder with --runs")
    if model is None and (RELEASED / CODEC).is_file():
        model = RELEASED
    if model is not None:
        read_codec(model)  # else the page would find out, and say it later
    folders = {} if model is None else {MODEL: model}
    app = make_app(runs, data, names=name or (), folders=folders, warm=True)
    listening = Listening(app, host=host, port=port)
    if not runs.exists():
        print(f"no folder {runs} yet: runs will be shown as soon as there are some")
    if host not in ("127.0.0.1", "::1", "localhost"):
        print(f"WARNING listening on {host}: everybody who reaches this machine can read these runs and this data")
    print(f"worldmodel ui: {listening.url}", flush=True)
    if open_page:
        webbrowser.open(listening.url)
    listening.serve()
