"""`worldmodel play`: the static site of one model, served on this machine alone, with the standard library.

Owns: finding the model, listening. Must not: need a package beside worldmodel where the model is exported already.
"""

from __future__ import annotations

import functools
import http.server
import ipaddress
import socketserver
from pathlib import Path
from urllib.parse import urlsplit

from worldmodel.errors import WrongUse

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".gz": "application/gzip", ".json": "application/json",
          ".svg": "image/svg+xml", ".css": "text/css", ".html": "text/html; charset=utf-8", ".md": "text/markdown",
          ".webmanifest": "application/manifest+json", "": "application/octet-stream"}  # fmt: skip


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of one folder that we wrote, to pages that came to us by our own address."""

    extensions_map = _TYPES
    server_version, sys_version = "worldmodel", ""

    def do_GET(self) -> None:
        if self._is_ours():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_ours():
            super().do_HEAD()

    def _is_ours(self) -> bool:
        """A foreign name that points here (DNS rebinding) is refused, and a listing of a folder is nobody's wish."""
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            known = name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            known = False
        if not known:
            self.send_error(421, "ask for 127.0.0.1 or localhost")
        elif self.path.partition("?")[0].endswith("/") and self.path.partition("?")[0] != "/":
            self.send_error(404, "no such file")
            known = False
        return known

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the page tells what it lacks."""


class Served(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A folder on 127.0.0.1. url: where it is. port 0 takes any free one. Raises WrongUse if the port is taken."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise WrongUse(
                f"cannot listen on port {port} ({error.strerror or error})", "a free port", "choose another --port"
            ) from error
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
