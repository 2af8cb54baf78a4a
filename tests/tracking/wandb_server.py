"""A stand-in for the W&B server on loopback: answers what the real client asks, and keeps what it was sent."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import threading
from typing import Any


class WandbServer:
    """Runs by id: {"config", "lines": history rows in order, "summary", "exit"}. `with WandbServer() as server`."""

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.operations: list[str] = []
        self.alerts: list[dict[str, Any]] = []
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = _Quiet(("127.0.0.1", port), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> WandbServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.die()

    def die(self) -> None:
        """No longer there, as far as a client can see."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, operation: str, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """GraphQL."""
        self.operations.append(operation)
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "team", "username": "u", "flags": "{}", "teams": {"edges": []}}}
        if operation in ("RunResumeStatus", "RunResume"):
            run = self.runs.get(given["name"])
            return {
                "model": {
                    "id": "m",
                    "name": given.get("project"),
                    "entity": {"id": "e", "name": "team"},
                    "bucket": run and _bucket(given["name"], run),
                }
            }
        if operation == "UpsertBucket":
            is_new = given["name"] not in self.runs
            run = self.runs.setdefault(given["name"], {"lines": [], "summary": {}, "config": {}, "exit": None})
            run["config"] |= json.loads(given.get("config") or "{}")
            run["project"], run["display"] = given.get("project"), given.get("displayName") or run.get("display")
            project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "team"}}
            return {"upsertBucket": {"bucket": _bucket(given["name"], run) | {"project": project}, "inserted": is_new}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/up/{name}"} for name in given.get("files", [])]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if operation == "NotifyScriptableRunAlert":
            self.alerts.append(given)
            return {"notifyScriptableRunAlert": {"success": True}}
        if operation == "ServerInfo":
            return {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": None}}
        return dict.fromkeys(re.findall(r"(\w+)\s*:\s*__type", query))

    def take(self, path: str, body: dict[str, Any]) -> None:
        """A piece of a run's stream."""
        run = self.runs[path.split("/")[-2]]
        files = body.get("files") or {}
        run["lines"] += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", [])]
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run["summary"] |= json.loads(line)
        if body.get("complete"):
            run["exit"] = body.get("exitcode")

    def values(self, name: str, of: str | None = None) -> dict[int, float]:
        """Step -> value of a curve, of the only run or of run `of`."""
        (run,) = self.runs.values() if of is None else (self.runs[of],)
        return {line["_step"]: line[name] for line in run["lines"] if name in line}


def _bucket(name: str, run: dict[str, Any]) -> dict[str, Any]:
    tail = [json.dumps(run["lines"][-1])] if run["lines"] else []
    return {
        "id": "b",
        "name": name,
        "displayName": name,
        "description": "",
        "sweepName": "",
        "tags": [],
        "summaryMetrics": json.dumps(run["summary"]),
        "historyLineCount": len(run["lines"]),
        "eventsLineCount": 0,
        "logLineCount": 0,
        "historyTail": json.dumps(tail),
        "eventsTail": "[]",
        "config": json.dumps(run["config"]),
        "wandbConfig": '{"t":{}}',
    }


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *about: object) -> None:
        """A client that left before the answer."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: WandbServer

    def log_message(self, *words: object) -> None:
        pass

    def _reply(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/graphql"):
            asked = json.loads(body)
            operation = asked.get("operationName") or re.findall(r"(?:query|mutation)\s+(\w+)", asked["query"])[0]
            answer = self.stand_in.answer(operation, asked["query"], asked.get("variables") or {})
            return self._reply({"data": answer})
        if "file_stream" in self.path:
            self.stand_in.take(self.path, json.loads(body))
            return self._reply({"exitcode": None, "limits": {}})
        return self._reply({})
