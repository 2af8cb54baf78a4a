"""The local server: run folders, one dataset and the pages, on this machine.

Owns: addresses, the order of what stands around them, the listening. Must not: show anything beside its folders, or
change one of them.

    /                         the pages (`static/`)
    /api/...                  see `api_runs`, `api_data`, `api_dream`
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from worldmodel.errors import WorldModelError, WrongUse
from worldmodel.web.answers import Refused
from worldmodel.web.api_data import DataApi
from worldmodel.web.api_dream import DreamApi
from worldmodel.web.api_runs import RunsApi
from worldmodel.web.guard import Guard
from worldmodel.web.places import Runs

STATIC = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".gz": "application/gzip",
          ".onnx": "application/octet-stream", ".webmanifest": "application/manifest+json"}  # fmt: skip


class Files(StaticFiles):
    """A folder's files, without following links out of it. The browser asks each time whether they changed (304)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        kind = _TYPES.get(Path(path).suffix)
        if kind is not None and response.status_code == 200:
            response.headers["Content-Type"] = kind
        return response


def make_app(
    runs: Path,
    data: Path | None = None,
    *,
    names: Collection[str] = (),
    folders: Mapping[str, Path] | None = None,
    warm: bool = False,
) -> Starlette:
    """The app. names: hosts it may be asked by, besides addresses and localhost. folders: more static ones, by the
    first part of their address. warm: read ahead what the next page asks for. Raises WrongUse for a damaged dataset.
    """
    places = Runs(runs)
    run_api, data_api = RunsApi(places), DataApi(data, warm=warm)
    dreams = DreamApi(places, data_api)

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_warm(run_api)) if warm else None
        yield
        if task is not None:
            task.cancel()

    routes: list[Route | Mount] = [
        Route("/api/runs", run_api.all),
        Route("/api/runs/{id}", run_api.one),
        Route("/api/runs/{id}/metrics", run_api.metrics),
        Route("/api/runs/{id}/dream", dreams.dream, methods=["POST"]),
        Route("/api/compare", run_api.compare),
        Route("/api/data", data_api.about),
        Route("/api/games", data_api.games),
        Route("/api/games/{id}/clip", data_api.clip),
        Route("/api/{rest:path}", _nothing),
        *[Mount(f"/{name}", Files(directory=folder)) for name, folder in (folders or {}).items()],
        Mount("/", Files(directory=STATIC, html=True)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, names=names), Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)],
        exception_handlers={WorldModelError: _refused, HTTPException: _http_refused, OSError: _unreadable},
        lifespan=life,
    )


async def _warm(run_api: RunsApi) -> None:
    with contextlib.suppress(OSError):  # whoever asks for what cannot be read is told so
        await run_in_threadpool(run_api.warm)


def _nothing(request: Request) -> Response:
    raise Refused(404, "no such address")


def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else 409 if isinstance(error, WrongUse) else 500
    return JSONResponse({"error": str(error)}, status)


def _http_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def _unreadable(request: Request, error: Exception) -> Response:
    """A folder may go, or become unreadable, while it is read."""
    assert isinstance(error, OSError)
    return JSONResponse({"error": f"it cannot be read now ({error.strerror or type(error).__name__})"}, 503)


class Listening:
    """A server that listens. url: where the page is."""

    def __init__(self, app: Starlette, *, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in ("", "0.0.0.0") else host
        self.url = f"http://{shown}:{self.port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=32 << 10, limit_concurrency=128, lifespan="on",
            )
        )  # fmt: skip

    def serve(self) -> None:
        """Answer until interrupted."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Let `serve` return; may be called from another thread."""
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises WrongUse if the port is taken or the host is not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Its protocol by name: asyncio turns off the waiting for fuller packets, 40 ms each, only for what says it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # from now on a browser waits instead of being refused
    except (OSError, OverflowError) as error:
        listener.close()
        raise WrongUse(
            f"cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error})",
            "an address of this machine and a free port",
            "choose another --port; 0 takes any free one",
        ) from error
    return listener
