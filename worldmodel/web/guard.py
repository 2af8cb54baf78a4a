"""Who may ask the server, how much, and what every answer says to the browser.

Owns: refusals before any view is asked, and the headers that keep a page to itself. Must not: know any address.

A page of somebody else's may make this browser send requests here, or have its name point to this machine (DNS
rebinding). So a request must be addressed to an IP address, to "localhost" or to a name that was chosen at the start;
one that says where it comes from must come from here; and what changes something, or makes the machine work, must be
JSON, which no foreign page can send unasked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 << 20
MAX_TARGET_BYTES = 8 << 10
"""Of an address with its query."""

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # ONNX Runtime Web compiles its module in the page
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self' blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around everything. names: hosts that may be asked for besides IP addresses and localhost."""

    def __init__(self, app: ASGIApp, *, names: Collection[str] = ()) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        body = _Body(receive)
        if refusal is None and scope["method"] == "POST":
            refusal = await body.read()
        if refusal is not None:
            status, reason = refusal
            await JSONResponse({"error": reason}, status)(scope, receive, send_with_headers)
            return
        await self._app(scope, body if scope["method"] == "POST" else receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_known(host):
            return 421, f"this server is not {host[:80]!r}; ask it by 127.0.0.1, localhost or its address"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, f"asked from a page of {origin[:80]}, and only its own pages may"
        is_page = headers.get("sec-fetch-mode") == "navigate" and not scope["path"].startswith("/api/")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_page:
            return 403, "asked from another page, and only its own pages may"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, f"method {scope['method'][:20]}, expected GET"
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            return 414, f"an address of more than {MAX_TARGET_BYTES:,} bytes"
        if scope["method"] == "POST":
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "content-type application/json expected"
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                return 413, f"more than {MAX_BODY_BYTES:,} bytes"
        elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return 413, "a body where none is expected"
        return None

    def _is_known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            _ = urlsplit(f"//{host}").port
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return "@" not in host


class _Body:
    """A request's body, read whole before anybody works on it, so that a stream without a length has a bound too."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._data: bytes | None = None

    async def read(self) -> tuple[int, str] | None:
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return 400, "the body ended early"
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                return 413, f"more than {MAX_BODY_BYTES:,} bytes"
            if not message.get("more_body", False):
                self._data = b"".join(parts)
                return None

    async def __call__(self) -> Message:
        if self._data is not None:
            data, self._data = self._data, None
            return {"type": "http.request", "body": data, "more_body": False}
        return await self._receive()
