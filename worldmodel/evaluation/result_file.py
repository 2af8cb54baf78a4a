"""`result.json` as others read it: its name, its version, what must be in it, and whether another one says the same.

Owns: that no number is read out of a file that is not whole. Must not: measure, know of runs or datasets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worldmodel.errors import WrongUse
from worldmodel.evaluation.sums import MODEL

Json = dict[str, Any]

RESULT_FILE = "result.json"
"""Of a report folder, and of a release."""

RESULT_VERSION = 3
"""Raised when a reader of older results would misread a new one.

1 (2026-11): first. 2 (2026-11): frozen starts with a digest, long and conditioned rollouts, sums beside the result.
3 (2026-11): deaths before a start are counted over all its rows, and not only over those that the model is shown.
"""

SAME = 1e-4
"""Relative difference up to which two numbers are one: what sums lose on another machine."""

_WAY_OUT = "evaluate again: worldmodel eval RUN"


class _Part(BaseModel):
    """What somebody reads by name; the rest is for people and for pages, and may be anything."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Weights(_Part):
    sha256: str
    step: int | None
    ema: bool
    arch: str
    heads: str | None
    num_parameters: int
    codec_hash: str


class _Data(_Part):
    name: str
    content_hash: str
    is_the_training_dataset: bool
    split: str
    held_out: bool
    num_games: int
    num_frames: int


class _Estimate(_Part):
    value: float | None
    low: float | None
    high: float | None
    reason: str | None


class _Headline(_Part):
    name: str
    measure: str
    unit: str
    where: str
    models: dict[str, _Estimate]


class _Starts(_Part):
    digest: str


class _Result(_Part):
    run: str
    weights: _Weights
    data: _Data
    settings: dict[str, Any]
    starts: _Starts
    headlines: list[_Headline] = Field(min_length=1)


def read_result(path: Path) -> Json:
    """A whole result. Raises WrongUse if the file is missing, no JSON, of another version, or lacks a part."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise WrongUse(f"no {path}", "the result of an evaluation", _WAY_OUT) from None
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{path} is no JSON ({error})", "the result of an evaluation", _WAY_OUT) from error
    version = value.get("result_version") if isinstance(value, dict) else None
    if version != RESULT_VERSION:
        raise WrongUse(f"{path} is of version {version}", f"version {RESULT_VERSION}", _WAY_OUT)
    try:
        _Result.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WrongUse(f"{path}: {where}: {first['msg']}", "the result of an evaluation", _WAY_OUT) from error
    whole: Json = value
    return whole


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What became of the headlines of an earlier result. moved: (then, now) by name; None for no number."""

    is_same_data: bool
    num: int
    moved: dict[str, tuple[float | None, float | None]]

    @property
    def num_reproduced(self) -> int:
        """How many came out again."""
        return self.num - len(self.moved)


def reproduction(then: Json, now: Json) -> Reproduction:
    """Compare the headlines of two results."""
    old, new = ({row["name"]: row["models"][MODEL]["value"] for row in one["headlines"]} for one in (then, now))
    moved = {name: (value, new.get(name)) for name, value in old.items() if not _is_same(value, new.get(name))}
    is_same_data = all(then["data"][key] == now["data"][key] for key in ("content_hash", "split"))
    return Reproduction(is_same_data, len(old), moved)


def _is_same(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is new
    return isclose(old, new, rel_tol=SAME, abs_tol=1e-9)
