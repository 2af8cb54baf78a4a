"""A run says what code it was, also in a changed checkout and outside of one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from worldmodel.runs.provenance import code_version, collect


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_outside_of_a_checkout(tmp_path: Path) -> None:
    found = code_version(tmp_path)
    assert (found.git_sha, found.diff) == (None, "")


def test_clean_changed_and_unknown(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    source = tmp_path / "worldmodel" / "a.py"
    source.parent.mkdir()
    source.write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    clean = code_version(tmp_path)
    assert clean.git_sha is not None
    assert len(clean.git_sha) == 40
    assert clean.as_json()["dirty"] is False
    source.write_text("a = 2\n")
    changed = code_version(tmp_path)
    assert "+a = 2" in changed.diff
    (source.parent / "b.py").write_text("")
    unknown = code_version(tmp_path)
    assert "untracked worldmodel/b.py sha256" in unknown.diff
    assert len({version.as_json()["diff_sha256"] for version in (clean, changed, unknown)}) == 3


def test_content_is_json(tmp_path: Path) -> None:
    told = collect(
        code=code_version(tmp_path), dataset={"path": "d"}, device="cpu", argv=["train"], experiment_hash="h"
    )
    assert json.loads(json.dumps(told)) == told
    assert told["argv"] == ["train"]
    assert told["versions"]["torch"]
    assert told["experiment_hash"] == "h"
