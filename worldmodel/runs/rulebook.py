"""Kill rules as they stand in a file: names and strict arguments, a budget, and the verdicts of all on a record.

    # rules.yaml; a run card's front matter has the same list under the same key
    kill:
      - {rule: below, metric: val_change_acc, threshold: 0.60, after_epochs: 1}
      - {rule: over_budget}
    usd: 25
    usd_per_hour: 2.10

Owns: the shape of the file, made from the signatures in `rules`. Must not: judge anything itself.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_type_hints

from pydantic import Field, NonNegativeFloat, PositiveFloat, create_model

from worldmodel.errors import WrongUse
from worldmodel.runs import strict
from worldmodel.runs.rules import RULES, Record, Verdict
from worldmodel.runs.strict import Strict

OUTSIDE = ("stale",)
"""Rules that only a watcher outside the run can judge."""
_PLAIN = ("metric", "threshold")
"""Arguments that need no name to be understood."""
REASON = "rule: "
"""Before the name of the rule in the reason of a run's end."""


class RuleSpec(Strict):
    """A rule and its arguments. fallback: whether the card's fallback is launched when it fires."""

    rule: str
    fallback: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """What the function is called with."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in RuleSpec.model_fields}

    @property
    def label(self) -> str:
        """In a few words, for people: "below val_change_acc 0.6, after_epochs 2"; defaults are left out."""
        words, more = [self.rule], []
        for name, value in self.arguments.items():
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            if name in _PLAIN:
                words.append(shown)
            elif value is not None and value != type(self).model_fields[name].default:
                more.append(f"{name} {shown}")
        return ", ".join([" ".join(words), *more])

    def judge(self, record: Record) -> Verdict:
        """What the rule says of a record."""
        return RULES[self.rule](record, **self.arguments)


def _spec_of(name: str, function: Callable[..., Verdict]) -> type[RuleSpec]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {"rule": (Literal[name], ...)}
    for argument in inspect.signature(function).parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            default = ... if argument.default is inspect.Parameter.empty else argument.default
            fields[argument.name] = (hints[argument.name], default)
    return create_model(f"Rule_{name}", __base__=RuleSpec, __doc__=function.__doc__, **fields)


SPECS: dict[str, type[RuleSpec]] = {name: _spec_of(name, function) for name, function in RULES.items()}
"""The strict model of each rule's arguments."""

if TYPE_CHECKING:
    AnyRule = RuleSpec
else:
    AnyRule = Annotated[Union[tuple(SPECS.values())], Field(discriminator="rule")]  # noqa: UP007


class Rulebook(Strict):
    """A file of rules. usd, usd_per_hour: what `over_budget` goes by where it does not say its own."""

    kill: list[AnyRule] = Field(default_factory=list)
    usd: PositiveFloat | None = None
    usd_per_hour: NonNegativeFloat | None = None

    def judge(self, record: Record) -> list[Verdict]:
        """The verdict of every rule, in the order of the file."""
        record.usd, record.usd_per_hour = self.usd, self.usd_per_hour
        return [rule.judge(record) for rule in self.kill]

    def fired(self, record: Record, *, outside: bool = False) -> tuple[RuleSpec, Verdict] | None:
        """The first rule that fires. outside: of those that only a watcher can judge, else of the others."""
        for rule, verdict in zip(self.kill, self.judge(record), strict=True):
            if verdict.state == "fires" and (rule.rule in OUTSIDE) is outside:
                return rule, verdict
        return None

    def find(self, name: str) -> RuleSpec | None:
        """The first rule of a name."""
        return next((rule for rule in self.kill if rule.rule == name), None)


def read_rules(path: Path) -> Rulebook:
    """A file of rules. Raises ConfigError with file, line and column, and WrongUse for a rule that could never fire."""
    book = strict.load(path, Rulebook)
    for rule in book.kill:
        if rule.rule != "over_budget":
            continue
        for key in ("usd", "usd_per_hour"):
            if rule.arguments[key] is None and getattr(book, key) is None:
                raise WrongUse(f"{path}: over_budget without {key}", "a budget and a price", f"write {key}: NUMBER")
    return book


def one_rule(text: str) -> RuleSpec:
    """A rule as one writes it on a command line: "below metric=val_change_acc threshold=0.6". Raises ConfigError."""
    name, *arguments = text.split()
    pairs = ", ".join(f"{key}: {value}" for key, _, value in (argument.partition("=") for argument in arguments))
    book = strict.loads(f"kill: [{{rule: {name}, {pairs}}}]", Path(f"--rule {text!r}"), Rulebook)
    return book.kill[0]


def check_metrics(rules: Sequence[RuleSpec], known: Collection[str]) -> None:
    """Raises WrongUse for a rule over a metric that no run writes, which would wait for ever."""
    for rule in rules:
        metric = rule.arguments.get("metric")
        if metric is not None and metric not in known:
            near = difflib.get_close_matches(metric, known, 1)
            raise WrongUse(
                f"rule {rule.rule} over {metric!r}",
                "a metric of training or, with val_, of validation",
                f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known))}",
            )
