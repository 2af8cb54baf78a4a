"""Every number of an evaluation as sums per game: what intervals, verdicts and paired comparisons are made of.

Owns: the ledger of (measure, model, game) sums, its estimates, the file `sums.arrow`. Must not: define a metric.

A measure's name says where it was taken: "step/pos_mae", "uniform/pos_mae@10", "long/pos_mae@600",
"event/hit/recall", "start/hit/recall", "contradiction/teleport", "survival/near@120", "reference/rc_5".

Letters: G games, M measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap
from worldmodel.evaluation.bootstrap import Estimate
from worldmodel.runs import atomic

MODEL = "model"
"""Name of the model under test; all others are baselines."""

Array = NDArray[np.float64]
Sums = Mapping[str, tuple[Array, Array]]
"""By model: numerators and denominators per game, (G,) or (G, M)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number. better: "neither" for rates that have a true value and no good side. what: in words, for a table."""

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    what: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Estimates by measure. of: of each model. against: of the model minus each baseline, on the same draws."""

    of: dict[str, dict[str, Estimate]]
    against: dict[str, dict[str, Estimate]]

    def json(self, name: str) -> dict[str, Any]:
        """{"models": {name: estimate}, "differences": {name: estimate}} of one measure."""
        return {
            "models": {model: asdict(values[name]) for model, values in self.of.items() if name in values},
            "differences": {model: asdict(values[name]) for model, values in self.against.items() if name in values},
        }


class Ledger:
    """Sums of all measures, in the order in which they were added. A model may lack a measure."""

    def __init__(self, games: Sequence[str]) -> None:
        self.games = tuple(games)
        self.measures: list[Measure] = []
        self._sums: list[dict[str, tuple[Array, Array]]] = []

    def add(self, measure: Measure, sums: Sums) -> None:
        """One measure: (G,) each."""
        if any(part.shape != (len(self.games),) for pair in sums.values() for part in pair):
            raise ValueError(f"{measure.name}: sums of another shape than ({len(self.games)},)")
        self.measures.append(measure)
        self._sums.append({model: (np.asarray(n, float), np.asarray(d, float)) for model, (n, d) in sums.items()})

    def add_many(self, measures: Sequence[Measure], sums: Sums) -> None:
        """Several measures: (G, M) each."""
        for index, measure in enumerate(measures):
            self.add(measure, {model: (n[:, index], d[:, index]) for model, (n, d) in sums.items()})

    def model(self, name: str = MODEL) -> tuple[list[Measure], bootstrap.Sums]:
        """What one model has: measures, and sums (G, M) of them."""
        at = [index for index, sums in enumerate(self._sums) if name in sums]
        return [self.measures[i] for i in at], self._stack(name, at)

    def numbers(self, *, seed: int) -> Numbers:
        """All estimates. Every measure of every model is taken on the same draws of games."""
        names = list(dict.fromkeys(model for sums in self._sums for model in sums))
        of: dict[str, dict[str, Estimate]] = {}
        against: dict[str, dict[str, Estimate]] = {}
        for name in names:
            measures, sums = self.model(name)
            of[name] = _named(measures, bootstrap.estimate(sums, seed=seed))
            both = [i for i, one in enumerate(self._sums) if name in one and MODEL in one]
            if name != MODEL and both:
                differences = bootstrap.difference(self._stack(MODEL, both), self._stack(name, both), seed=seed)
                against[name] = _named([self.measures[i] for i in both], differences)
        return Numbers(of, against)

    def _stack(self, name: str, at: Sequence[int]) -> bootstrap.Sums:
        if not at:
            return np.zeros((len(self.games), 0)), np.zeros((len(self.games), 0))
        numerator, denominator = (np.stack([self._sums[i][name][part] for i in at], 1) for part in (0, 1))
        return numerator, denominator


def _named(measures: Iterable[Measure], estimates: Iterable[Estimate]) -> dict[str, Estimate]:
    return {measure.name: estimate for measure, estimate in zip(measures, estimates, strict=True)}


# ---- the file --------------------------------------------------------------------------------------------------------

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "unit", "better", "what")),
        ("numerator", pa.list_(pa.float64())),
        ("denominator", pa.list_(pa.float64())),
    ]
)


def write(ledger: Ledger, path: Path) -> str:
    """The model's own sums: a row per measure, a list over games in the order of their ids in the schema's metadata.
    Returns the file's SHA-256, by which a result knows its own."""
    measures, (numerator, denominator) = ledger.model()
    table = pa.table(
        {
            **{name: [getattr(m, name) for m in measures] for name in ("name", "unit", "better", "what")},
            "numerator": list(numerator.T),
            "denominator": list(denominator.T),
        },
        schema=_SCHEMA.with_metadata({"games": "\n".join(ledger.games)}),
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    atomic.write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read(path: Path, *, sha256: str) -> Ledger:
    """The ledger of one model. Raises WrongUse if the file is missing, or is not the one with that hash."""
    way_out = "evaluate the run again: worldmodel eval RUN"
    if not path.is_file():
        raise WrongUse(f"no {path}", "the sums of an evaluation", way_out)
    try:
        data = path.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise WrongUse(f"{path} ({found[:12]})", f"the file of the result beside it ({sha256[:12]})", way_out)
        with pa.ipc.open_file(pa.BufferReader(data)) as reader:
            table = reader.read_all()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise WrongUse(f"{path}: {error}", "an Arrow file that an evaluation wrote", way_out) from error
    about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if not table.schema.equals(_SCHEMA) or "games" not in about:
        raise WrongUse(f"{path} has other columns", f"{', '.join(_SCHEMA.names)}", way_out)
    ledger = Ledger(about["games"].split("\n"))
    for row in table.to_pylist():
        measure = Measure(*(row[name] for name in ("name", "unit", "better", "what")))
        ledger.add(measure, {MODEL: (np.array(row["numerator"]), np.array(row["denominator"]))})
    return ledger
