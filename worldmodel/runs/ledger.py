"""The ledger: what earlier runs were and what they reached.

Owns: the shape of an entry, reading run folders as entries, the file of results that were measured elsewhere.
Must not: judge which run is comparable, or know what a metric means.

Values are kept apart by where they come from, and their names must show it:

    val       held-out data, raw weights, at the step with the lowest val_loss/total; names begin with "val_"
    val_last  the same of the last validation
    val_ema   the same of the running mean of the weights
    train     the last row of training means; names never begin with "val_"
    unsaid    results from elsewhere of which nobody says whether they are training or held-out values
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic
from worldmodel.runs.folder import NotARun, RunFolder
from worldmodel.runs.provenance import files_of_diff
from worldmodel.runs.status import read_status
from worldmodel.runs.strict import Strict, flat

VAL = "val_"
TOTAL = f"{VAL}loss/total"
FILE = "ledger.jsonl"
"""Name of the file of results from elsewhere, in the folder of cards."""

Scalar = bool | int | float | str | None | list[Any]


class EntryData(Strict):
    """Which dataset: its content hash, or what people call it."""

    content_hash: str | None = None
    name: str | None = None
    num_games: int | None = None
    num_frames: int | None = None


class EntryCode(Strict):
    """Which code: a commit if it is known, whether the checkout differed from it, and in which files."""

    version: str | None = None
    git_sha: str | None = None
    dirty: bool = False
    diff_sha256: str | None = None
    changed: list[str] = Field(default_factory=list)


class Entry(Strict):
    """One run. config: dotted keys; complete only for run folders. ended: why it ended, None if it has not.

    epochs: done so far. disturbed: numbers that its noise touched on a real batch, as the run wrote them down.
    val: at the best step, val_last: at the last one. step_s: a step's time of late. epoch_s: of an epoch with all that
    belongs to it, after the first row of pace. spent_s: of all its processes, what was lost and done again included.
    memory_gb: the most that it wrote down. stall_s: what training waited for a checkpoint, the median.
    """

    name: str
    kind: Literal["run", "elsewhere"]
    source: str
    at: str
    data: EntryData = EntryData()
    epochs: float | None = None
    step: int | None = None
    num_steps: int | None = None
    steps_per_epoch: int | None = None
    config: dict[str, Scalar] = Field(default_factory=dict)
    code: EntryCode | None = None
    gpu: str | None = None
    num_cpus: int | None = None
    val: dict[str, float] = Field(default_factory=dict)
    val_step: int | None = None
    val_last: dict[str, float] = Field(default_factory=dict)
    val_last_step: int | None = None
    val_ema: dict[str, float] = Field(default_factory=dict)
    train: dict[str, float] = Field(default_factory=dict)
    unsaid: dict[str, float] = Field(default_factory=dict)
    ended: str | None = None
    num_resumed: int = 0
    disturbed: list[str] | None = None
    step_s: float | None = None
    duration_s: float | None = None
    epoch_s: float | None = None
    spent_s: float | None = None
    memory_gb: float | None = None
    stall_s: float | None = None
    notes: str = ""

    @field_validator("val", "val_last", "val_ema")
    @classmethod
    def _are_held_out(cls, values: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name in values if not name.startswith(VAL)]:
            raise ValueError(f"names that begin with {VAL!r} (found {', '.join(wrong)}): these are held-out values")
        return values

    @field_validator("train", "unsaid")
    @classmethod
    def _are_not_held_out(cls, values: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name in values if name.startswith(VAL)]:
            raise ValueError(f"names without {VAL!r} (found {', '.join(wrong)}): these are no held-out values")
        return values

    @property
    def goes_on(self) -> bool:
        """Whether it is a run that has not said that it ended."""
        return self.kind == "run" and self.ended is None

    @property
    def is_complete(self) -> bool:
        """Whether `config` is all of it, so that a key that is not there is one that the run had not."""
        return self.kind == "run"

    def value(self, metric: str) -> float | None:
        """A metric by its full name: "val_..." out of held-out values only, any other out of training values only."""
        return (self.val if metric.startswith(VAL) else self.train).get(metric)


class Ledger:
    """All runs under a folder and all results of a file; either may be absent. Folders are read when asked for.

    Raises WrongUse for a damaged file. problems: run folders that could not be read so far, and why, by name.
    """

    def __init__(self, runs: Path, file: Path, more: Iterable[Entry] = ()) -> None:
        self._elsewhere = {entry.name: entry for entry in (*read_elsewhere(file), *more)}
        found = sorted(runs.iterdir()) if runs.is_dir() else []
        self._paths = {path.name: path for path in found if (path / "run.json").is_file()}
        self._read: dict[str, Entry | None] = {}
        self.problems: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Of all entries."""
        return list(dict.fromkeys([*self._elsewhere, *self._paths]))

    def get(self, name: str) -> Entry | None:
        """An entry by name; None if there is none, or its folder cannot be read. A run wins over one from elsewhere."""
        return self._run(name) or self._elsewhere.get(name)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, oldest first."""
        found = [*self._elsewhere.values(), *filter(None, map(self._run, self._paths))]
        return tuple(sorted(found, key=lambda entry: entry.at))

    def newest_runs(self) -> Iterator[Entry]:
        """Run folders, the last changed one first, each read when it is its turn."""
        for path in sorted(self._paths.values(), key=lambda path: path.stat().st_mtime, reverse=True):
            if (entry := self._run(path.name)) is not None:
                yield entry

    def _run(self, name: str) -> Entry | None:
        if name in self._paths and name not in self._read:
            try:
                self._read[name] = entry_of(RunFolder.open(self._paths[name]))
            except (NotARun, OSError, ValueError, KeyError, TypeError, YAMLError) as error:
                self._read[name] = None
                self.problems[name] = " ".join(str(error).split())[:200]
        return self._read.get(name)


# ---- run folders -------------------------------------------------------------------------------------------------


def entry_of(run: RunFolder) -> Entry:
    """What a run folder tells. Raises OSError, ValueError, KeyError or TypeError if its files are damaged."""
    told = json.loads(run.provenance.read_text(encoding="utf-8"))
    config = _flat_yaml(run.config.read_text(encoding="utf-8"))
    rows, pace, events = (_rows(path) for path in (run.metrics, run.pace, run.events))
    looks = {w: [r for r in rows if r["kind"] == "val" and r.get("weights", "raw") == w] for w in ("raw", "ema")}
    raw, ema, final = _best(looks["raw"]), _best(looks["ema"]), (looks["raw"] or [{}])[-1]
    trained = [row for row in rows if row["kind"] == "train"]
    beginnings = [event for event in events if event["event"] in ("started", "resumed")]
    ends = [event for event in events if event["event"] in ("ended", "started", "resumed", "vanished")]
    last = ends[-1] if ends else None
    data = told["dataset"]
    return Entry(
        name=run.id,
        kind="run",
        source=f"run folder {run.id}",
        at=told["started_at"],
        data=EntryData(
            content_hash=data["content_hash"],
            num_games=data.get("num_games"),
            num_frames=data.get("num_frames"),
        ),
        epochs=next((float(row["epoch"]) for row in reversed(rows) if "epoch" in row), None),
        step=max((row["step"] for row in [*rows, *pace, *events]), default=None),
        num_steps=beginnings[-1].get("num_steps") if beginnings else None,
        steps_per_epoch=beginnings[-1].get("steps_per_epoch") if beginnings else None,
        config=dict(config),
        code=EntryCode(
            **{key: told["code"].get(key) for key in ("version", "git_sha", "dirty", "diff_sha256")},
            changed=files_of_diff(run.code_diff.read_text(encoding="utf-8")) if run.code_diff.exists() else [],
        ),
        gpu=told["machine"].get("gpu"),
        num_cpus=told["machine"].get("num_cpus"),
        val=_values(raw, VAL),
        val_step=raw.get("step"),
        val_last=_values(final, VAL),
        val_last_step=final.get("step"),
        val_ema=_values(ema, VAL),
        train=_values(trained[-1] if trained else {}, "loss/"),
        num_resumed=sum(event["event"] == "resumed" for event in events),
        disturbed=next((event["numbers"] for event in events if event["event"] == "disturbed"), None),
        ended=str(last.get("reason", last["event"])) if last and last["event"] in ("ended", "vanished") else None,
        step_s=median(row["step_ms"] for row in pace[-30:]) / 1000 if pace else None,
        duration_s=sum(row["elapsed_s"] for row in pace) if pace else None,
        epoch_s=_epoch_s(pace, beginnings[-1].get("steps_per_epoch") if beginnings else None),
        spent_s=_spent_s(run, pace, events),
        memory_gb=max((row["memory_gb"] for row in pace if "memory_gb" in row), default=None),
        stall_s=_stall_s(events),
    )


def _epoch_s(pace: list[dict[str, Any]], steps_per_epoch: int | None) -> float | None:
    """Of an epoch, by the rows of pace after the first, which has the run's beginning in it."""
    if not steps_per_epoch or not pace:
        return None
    num = pace[-1]["step"] - pace[0]["step"]
    if num <= 0:
        return float(pace[0]["step_ms"]) / 1000 * steps_per_epoch
    return float(sum(row["elapsed_s"] for row in pace[1:]) / num * steps_per_epoch)


def _spent_s(run: RunFolder, pace: list[dict[str, Any]], events: list[dict[str, Any]]) -> float | None:
    """As it stands on its card; of a run without one as its heartbeat counted; else its rows of pace and what was lost
    of them."""
    if run.closeout.exists():
        return float(json.loads(run.closeout.read_bytes())["spent_s"])
    status = read_status(run) or {}
    if status.get("spent_s") is not None:
        return float(status["spent_s"])
    lost_s = sum(float(event.get("lost_s") or 0.0) for event in events)
    return sum(row["elapsed_s"] for row in pace) + lost_s if pace else None


def _stall_s(events: list[dict[str, Any]]) -> float | None:
    """Of checkpoints beside which training went on: the first and the last are waited for."""
    beside = [e for e in events if e["event"] == "checkpoint" and e.get("stalled_s", 0) != e.get("seconds", 0)]
    return float(median(event["stalled_s"] for event in beside)) if beside else None


@lru_cache(maxsize=4096)
def _flat_yaml(text: str) -> Mapping[str, Any]:
    """Reading YAML is most of the work, and many runs share a config."""
    return flat(YAML(typ="safe", pure=True).load(text))


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row with the lowest total loss; the last one if none has a total."""
    with_total = [row for row in rows if row.get(TOTAL) is not None]
    if with_total:
        return min(with_total, key=lambda row: float(row[TOTAL]))
    return rows[-1] if rows else {}


def _values(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name.startswith(prefix) and value is not None}


def _rows(path: Path) -> list[dict[str, Any]]:
    """Whole rows of a file that may be written to at this moment. Raises ValueError for a row that is no JSON."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


# ---- results from elsewhere --------------------------------------------------------------------------------------


def read_elsewhere(file: Path) -> list[Entry]:
    """The entries of a file. Raises WrongUse with file and line."""
    if not file.exists():
        return []
    entries: list[Entry] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the line"
            message = first["msg"].removeprefix("Value error, ")
            raise WrongUse(f"{file}:{number}: {key}: {message}", "an entry of the ledger", "mend the line") from None
        if entry.kind != "elsewhere" or entry.name in {other.name for other in entries}:
            found = f"{file}:{number}: {entry.name!r} of kind {entry.kind!r}"
            raise WrongUse(found, "kind 'elsewhere', and every name once", "remove or rename it")
        entries.append(entry)
    return entries


def add(file: Path, entries: Iterable[Entry]) -> None:
    """Add results measured elsewhere, durably and all or none. Raises WrongUse if a name is taken."""
    known = {entry.name for entry in read_elsewhere(file)}
    lines = []
    for entry in entries:
        if entry.name in known:
            raise WrongUse(f"{entry.name!r} is in {file}", "a new name", "choose another, or edit the file")
        known.add(entry.name)
        lines.append(json.dumps(entry.model_dump(mode="json", exclude_defaults=True), allow_nan=False) + "\n")
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(file, old + ("\n" if old and not old.endswith("\n") else "") + "".join(lines))


def result_from_elsewhere(name: str, *, source: str, **more: Any) -> Entry:
    """An entry of now, for `add`. `more`: fields of `Entry`. Raises WrongUse."""
    try:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Entry.model_validate({"name": name, "kind": "elsewhere", "source": source, "at": at} | more)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise WrongUse(f"{name}: {key}", first["msg"].removeprefix("Value error, "), f"change {key}") from None
