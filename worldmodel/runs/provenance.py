"""Where a run came from: code, data, machine, arguments.

Owns: collecting what one needs to know to repeat a run. Must not: import torch (its version is read from the
installed package), or fail because some fact cannot be had: it is then recorded as null.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGE = "worldmodel"
_CHECKOUT = Path(__file__).resolve().parents[2]
CODE = "WORLDMODEL_CODE"
"""Environment variable with the code's version as JSON, where the code is without its repository (a container)."""
_VERSIONS_OF = ("torch", "numpy", "pyarrow", "pydantic", "safetensors")


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The code that ran. In a checkout: its commit, and the diff to it; elsewhere only the package's version."""

    version: str
    git_sha: str | None
    diff: str
    diff_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For run.json; of the diff only whether there is one, and its hash."""
        diff_sha256 = hashlib.sha256(self.diff.encode()).hexdigest() if self.diff else self.diff_sha256
        return {
            "version": self.version,
            "git_sha": self.git_sha,
            "dirty": diff_sha256 is not None,
            "diff_sha256": diff_sha256,
        }


def code_version(checkout: Path = _CHECKOUT) -> CodeVersion:
    """Version of the code at hand. Files that git does not know count as differences, by name and content hash."""
    version = _version(_PACKAGE) or "unknown"
    sha = _git(checkout, "rev-parse", "HEAD") if (checkout / ".git").exists() else None
    if sha is None:
        told = json.loads(os.environ.get(CODE) or "{}")
        return CodeVersion(told.get("version") or version, told.get("git_sha"), "", told.get("diff_sha256"))
    diff = _git(checkout, "diff", "HEAD", "--no-color") or ""
    unknown = _git(checkout, "ls-files", "--others", "--exclude-standard", "--", _PACKAGE) or ""
    for name in unknown.splitlines():
        content = hashlib.sha256((checkout / name).read_bytes()).hexdigest()
        diff += f"\nuntracked {name} sha256 {content}"
    return CodeVersion(version, sha.strip(), diff)


def files_changed(
    since: str, rooms: Sequence[str], *, until: str | None = None, checkout: Path = _CHECKOUT
) -> list[str] | None:
    """Files of some rooms that differ between two commits, or from one to the code at hand (until: None), what git does
    not know included. None where that cannot be told: no checkout, or a commit that is not in it."""
    if not (checkout / ".git").exists():
        return None
    folders = [f"{_PACKAGE}/{room}" for room in rooms]
    commits = [since] if until is None else [since, until]
    found = _git(checkout, "diff", "--name-only", "--no-color", *commits, "--", *folders)
    if found is None:
        return None
    unknown = ""
    if until is None:
        unknown = _git(checkout, "ls-files", "--others", "--exclude-standard", "--", *folders) or ""
    return sorted({*found.splitlines(), *unknown.splitlines()})


def files_of_diff(diff: str) -> list[str]:
    """Files that a recorded difference (see `CodeVersion.diff`) is about."""
    tracked = re.findall(r"^diff --git a/(\S+) b/", diff, flags=re.MULTILINE)
    return sorted({*tracked, *re.findall(r"^untracked (\S+) sha256 ", diff, flags=re.MULTILINE)})


def collect(
    *,
    code: CodeVersion,
    dataset: Mapping[str, Any],
    device: str,
    gpu: str | None = None,
    argv: Sequence[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Content of run.json. `dataset`: its path and hashes. `more`: what the caller knows besides."""
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": list(sys.argv if argv is None else argv),
        "code": code.as_json(),
        "dataset": dict(dataset),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONS_OF},
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "num_cpus": os.cpu_count(),
            "device": device,
            "gpu": gpu,
        },
        **more,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
