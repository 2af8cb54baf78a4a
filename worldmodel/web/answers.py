"""Answers as JSON: strict, with an ETag, and errors as one sentence.

Owns: how a value or a refusal leaves the server. Must not: know what is asked.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from worldmodel.errors import WorldModelError


class Refused(WorldModelError):
    """What the server does not do. status: of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def not_found(what: str) -> Refused:
    """There is no such thing, or it is none of this server's."""
    return Refused(404, what)


def encode(value: Any) -> bytes:
    """Strict JSON; what is not finite becomes null."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", errors="replace")  # names of files may hold what is no character


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def answer(request: Request, data: bytes, *, status: int = 200) -> Response:
    """JSON, or 304 if the browser has the same already."""
    tag = f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    # A weak tag comes back where an answer was compressed on its way.
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if status == 200 and request.method in ("GET", "HEAD") and tag in known:
        return Response(status_code=304, headers=headers)
    return Response(data, status, headers, media_type="application/json")


def whole(request: Request, name: str, *, low: int, high: int, default: int | None = None) -> int:
    """A whole number of the query. Raises Refused."""
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    try:
        value = int(text or "")
    except ValueError:
        raise Refused(400, f"{name}={(text or '')[:40]}, expected a whole number") from None
    if not low <= value <= high:
        raise Refused(400, f"{name}={value}, expected {low} to {high}")
    return value
