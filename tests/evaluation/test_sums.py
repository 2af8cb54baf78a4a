"""The ledger: every estimate on the same draws, and a file that comes back exactly or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worldmodel.errors import WrongUse
from worldmodel.evaluation import bootstrap, sums
from worldmodel.evaluation.sums import MODEL, Ledger, Measure

GAMES = [f"game{i}" for i in range(8)]


def measure(name: str) -> Measure:
    return Measure(name, "share", "higher", "a number")


def ledger(seed: int = 0) -> Ledger:
    generator = np.random.default_rng(seed)
    found = Ledger(GAMES)
    for name in ("one", "two"):
        found.add(measure(name), {m: (generator.random(8), 1 + generator.random(8)) for m in (MODEL, "copy_last")})
    found.add(measure("alone"), {MODEL: (generator.random(8), np.ones(8))})
    return found


def test_numbers_are_those_of_the_bootstrap() -> None:
    found = ledger()
    numbers = found.numbers(seed=3)
    assert set(numbers.of[MODEL]) == {"one", "two", "alone"}
    assert set(numbers.of["copy_last"]) == set(numbers.against["copy_last"]) == {"one", "two"}
    (_, of_model), (_, of_copy) = found.model(), found.model("copy_last")
    pair = tuple(part[:, :2] for part in of_model)
    assert numbers.against["copy_last"]["two"] == bootstrap.difference(pair, of_copy, seed=3)[1]  # type: ignore[arg-type]
    assert numbers.json("alone")["differences"] == {}


def test_sums_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="another shape"):
        Ledger(GAMES).add(measure("x"), {MODEL: (np.zeros(7), np.zeros(8))})


def test_a_file_comes_back_exactly(tmp_path: Path) -> None:
    found, path = ledger(), tmp_path / "sums.arrow"
    back = sums.read(path, sha256=sums.write(found, path))
    assert back.games == found.games
    assert back.measures == found.measures
    for one, other in zip(back.model()[1], found.model()[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sums.arrow"
    with pytest.raises(WrongUse, match=r"no .*sums\.arrow"):
        sums.read(path, sha256="")
    sha256 = sums.write(ledger(), path)
    sums.write(ledger(1), path)
    with pytest.raises(WrongUse, match="the file of the result beside it"):
        sums.read(path, sha256=sha256)
    path.write_bytes(b"garbage")
    import hashlib

    with pytest.raises(WrongUse, match="an Arrow file"):
        sums.read(path, sha256=hashlib.sha256(b"garbage").hexdigest())
