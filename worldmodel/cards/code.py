"""The code of a run as a variable: whether it is another than an earlier run's, where that can matter.

Owns: which rooms' code can change a result or a speed, and how a difference is worded. Must not: call git itself (that
is `runs.provenance`).

A card's text must not go stale with every commit, so a difference is told as one, with the earlier commit alone; the
files are for `card lint`. A card whose run has begun is about the code that the run began with, for ever, in the same
words.
"""

from __future__ import annotations

from dataclasses import replace

from worldmodel.cards.news import Change, News
from worldmodel.runs.ledger import Entry, EntryCode
from worldmodel.runs.provenance import code_version, files_changed

RESULT = ("melee", "schema", "replays", "dataset", "nn", "models", "dynamics", "evaluation", "training")
"""Rooms whose code can change a weight or a metric."""

SPEED = ("schema", "dataset", "nn", "models", "dynamics", "evaluation", "training")
"""Rooms whose code can change a step's time."""

CODE = "code"


def with_code(news: News, own: Entry | None) -> News:
    """The same with the code as one more variable, if it differs. own: the card's run, if it has begun."""
    change, unknown = code_change(news.entry.code, own.code if own else None)
    changes = (*news.changes, change) if change else news.changes
    return replace(news, changes=changes, code_unknown=unknown)


def code_change(before: EntryCode | None, after: EntryCode | None) -> tuple[Change | None, str]:
    """The difference, or why it is not known (empty if it is). after: None for the code at hand."""
    if before is None:
        return None, "it is not recorded which code it ran"
    if after is None:
        after = EntryCode(**code_version().as_json())
        until = None
    else:
        until = after.git_sha
    if before.git_sha is None or after.git_sha is None:
        if before.git_sha == after.git_sha and before.version == after.version:
            return None, ""
        if before.git_sha is None and after.git_sha is None:
            return Change(CODE, f"version {before.version}", f"version {after.version}", None), ""
        return None, "one of the two ran without its repository"
    if (before.git_sha, before.diff_sha256) == (after.git_sha, after.diff_sha256):
        return None, ""
    files = files_changed(before.git_sha, RESULT, until=until)
    if files is None:
        return None, f"its commit {before.git_sha[:12]} is not in this checkout"
    own = in_rooms(before.changed), in_rooms(after.changed) if until else []
    if not files and not any(own):
        return None, ""
    was = before.git_sha[:12] + (" with changes that were not committed" if own[0] else "")
    return Change(CODE, was, "changed since", None), ""


def in_rooms(files: list[str], rooms: tuple[str, ...] = RESULT) -> list[str]:
    """Those of a checkout's files that are in some rooms."""
    return [file for file in files if file.startswith(tuple(f"worldmodel/{room}/" for room in rooms))]
