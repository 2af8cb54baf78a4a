"""The run card: one Markdown file per run, whose front matter is what machines act on.

Owns: the keys of the front matter, the hash that reviewers sign, and what signatures are worth. Must not: compute a
fact about data, model or cost (the room `cards` does), or know which metrics exist.

The signed hash covers the front matter without its reviews, the resolved experiment and the dataset's content hash. It
does not cover prose, rendered tables, or where the dataset lies on this machine: none of them changes the run.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from worldmodel.errors import WrongUse
from worldmodel.runs.document import Document
from worldmodel.runs.rulebook import AnyRule
from worldmodel.runs.strict import Strict

CARDS = Path("cards")
"""Where cards lie if nobody says otherwise."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class CardData(Strict):
    """Which dataset. content_hash: its identity.

    path: where it lay when the card was written; on_backend: where the backend finds it, if elsewhere. Both are hints.
    """

    content_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    path: str | None = None
    on_backend: str | None = None


class Target(Strict):
    """What the run is for: a metric, where it stands today and who says so, and where it shall get to."""

    metric: str
    better: Literal["higher", "lower"]
    target: float
    baseline: float | None = None
    baseline_from: str | None = None

    @model_validator(mode="after")
    def _is_better(self) -> Target:
        sign = 1 if self.better == "higher" else -1
        if self.baseline is not None and sign * (self.target - self.baseline) <= 0:
            raise ValueError(f"target {self.target} is not better ({self.better}) than baseline {self.baseline}")
        return self


class Budget(Strict):
    """usd: what the run may cost. pessimistic_factor: how far off estimates of time have been, upwards."""

    usd: PositiveFloat | None = None
    pessimistic_factor: Annotated[float, Field(ge=1)] = 5.0


class Estimate(Strict):
    """What time and cost follow from. measured: by a plan on the target device; else somebody's guess.

    batch_s: seconds of a step; load_s: until the first one. source: who says so.
    """

    batch_s: PositiveFloat
    load_s: Annotated[float, Field(ge=0)] = 0.0
    measured: bool = False
    source: str


class Checkpoints(Strict):
    """every_min: at most this much work is lost. publish: copied to where it outlives the machine."""

    every_min: PositiveFloat = 10.0
    publish: bool = False


class Tracker(Strict):
    """policy: `required` fails before the first step, `optional` warns and counts, `off` is JSONL alone."""

    policy: Literal["required", "optional", "off"] = "off"
    project: str | None = None
    entity: str | None = None


class Backend(Strict):
    """Where it runs. timeout_s: of one attempt. devices: of one kind, a process each. usd_per_hour: of all of them,
    over the table of prices, which is of one."""

    name: str = "local"
    gpu: str | None = None
    devices: PositiveInt = 1
    timeout_s: PositiveInt | None = None
    retries: NonNegativeInt = 0
    cpu_cores: PositiveFloat | None = None
    memory_gb: PositiveFloat | None = None
    usd_per_hour: PositiveFloat | None = None


class Fallback(Strict):
    """What is launched instead if a rule ends the run and says so."""

    card: Name


class Reviewers(Strict):
    """required: who must approve. needed: false only for runs that cannot cost more than `cost_limit_usd`."""

    required: tuple[str, ...] = ()
    needed: bool = True
    cost_limit_usd: PositiveFloat | None = None

    @field_validator("required", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _cheap_if_not_needed(self) -> Reviewers:
        if not self.needed and self.cost_limit_usd is None:
            raise ValueError("a cost limit for a run that nobody reviews: set cost_limit_usd")
        return self


class Review(Strict):
    """A signature: who, what about, and the hash of the card that was looked at."""

    by: Annotated[str, Field(min_length=1)]
    verdict: Literal["approve", "block"]
    comment: str = ""
    hash: str
    at: str


class Card(Strict):
    """The front matter."""

    run: Name
    goal: str
    config: str
    data: CardData
    overrides: list[str] = Field(default_factory=list)
    targets: list[Target] = Field(default_factory=list)
    kill: list[AnyRule] = Field(default_factory=list)
    baselines: list[str] = Field(default_factory=list)
    estimate: Estimate | None = None
    budget: Budget = Budget()
    checkpoints: Checkpoints = Checkpoints()
    tracker: Tracker = Tracker()
    backend: Backend = Backend()
    fallback: Fallback | None = None
    reviewers: Reviewers = Reviewers()
    watched_by: list[str] = Field(default_factory=list)
    reviews: list[Review] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CardFile:
    """A card on disk."""

    document: Document
    card: Card

    @property
    def path(self) -> Path:
        return self.document.path

    @classmethod
    def read(cls, path: Path) -> CardFile:
        """Raises WrongUse: no file, markers that do not pair up, or front matter that is not a card's."""
        return cls.of(Document.read(path))

    @classmethod
    def of(cls, document: Document) -> CardFile:
        """Of a document at hand. Raises WrongUse."""
        card = document.load(Card)
        if card.run != document.path.stem:
            raise WrongUse(
                f"{document.position('run')}: run {card.run!r}",
                f"{document.path.stem!r}, the name of the file",
                "rename one of the two",
            )
        return cls(document, card)

    def with_review(self, review: Review) -> CardFile:
        """The same with one more signature. Nothing else in the file changes."""
        reviews = [*self.card.reviews, review]
        document = self.document.with_key("reviews", [one.model_dump(mode="json") for one in reviews])
        return replace(self, document=document, card=document.load(Card))


def find_card(name: str | Path, cards: Path = CARDS) -> Path:
    """The file of a card: a path, or the name of a run. Raises WrongUse with the nearest name there is."""
    path = Path(name)
    if path.is_file():
        return path
    known = {file.stem: file for file in sorted(cards.glob("*.md"))}
    if (stem := path.name.removesuffix(".md")) in known and path.parent in (Path(), cards):
        return known[stem]
    near = difflib.get_close_matches(stem, known, 1)
    raise WrongUse(
        f"no card {str(name)!r}",
        f"a file, or one of {', '.join(known)}" if known else f"a file, or a card in {cards}",
        f"did you mean {near[0]!r}?" if near else "worldmodel card new --from CONFIG --data DATASET writes one",
    )


# ---- signatures --------------------------------------------------------------------------------------------------


def resolved_hash(card: Card, experiment: Mapping[str, Any]) -> str:
    """What reviewers sign: 16 hex digits. experiment: resolved, every default written out, as JSON values."""
    front = card.model_dump(mode="json", exclude={"reviews": True, "data": {"path", "on_backend"}})
    text = json.dumps({"card": front, "experiment": dict(experiment)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def new_review(*, by: str, verdict: Literal["approve", "block"], comment: str, hash: str) -> Review:
    """A signature of now."""
    return Review(
        by=by, verdict=verdict, comment=comment, hash=hash, at=datetime.now(UTC).isoformat(timespec="milliseconds")
    )


@dataclass(frozen=True, slots=True)
class SignOff:
    """What the reviews of a card are worth for a hash.

    missing: required reviewers without a valid approval. void: reviews of another hash that no newer one of the same
    reviewer replaces.
    """

    state: Literal["approved", "blocked", "missing", "not needed"]
    approvals: tuple[Review, ...]
    blocks: tuple[Review, ...]
    void: tuple[Review, ...]
    missing: tuple[str, ...]

    @property
    def may_launch(self) -> bool:
        """Whether the reviews are in the way; what the run may cost without one is the launcher's question."""
        return self.state in ("approved", "not needed")

    def in_words(self) -> str:
        """One line for people."""
        parts = [f"blocked by {review.by}: {review.comment or 'without a comment'}" for review in self.blocks]
        if self.approvals:
            parts.append("approved by " + ", ".join(review.by for review in self.approvals))
        if self.void:
            parts.append("VOID, the card has changed since: " + ", ".join(f"{r.verdict} by {r.by}" for r in self.void))
        if self.missing:
            parts.append(f"no approval of {', '.join(self.missing)}")
        if self.state == "not needed":
            parts.append("none needed")
        return "; ".join(parts)


def sign_off(card: Card, hash: str) -> SignOff:
    """Judge the reviews. Each reviewer's last one counts, if it is of this hash."""
    last = {review.by: review for review in card.reviews}
    valid = [review for review in last.values() if review.hash == hash]
    approvals = tuple(review for review in valid if review.verdict == "approve")
    blocks = tuple(review for review in valid if review.verdict == "block")
    void = tuple(review for review in last.values() if review.hash != hash)
    names = {review.by for review in approvals}
    missing = tuple(name for name in card.reviewers.required if name not in names)
    if card.reviewers.needed and not card.reviewers.required and not approvals:
        missing = ("anybody",)
    if blocks:
        state: Literal["approved", "blocked", "missing", "not needed"] = "blocked"
    elif not card.reviewers.needed:
        state, missing = "not needed", ()
    else:
        state = "missing" if missing else "approved"
    return SignOff(state, approvals, blocks, void, missing)
