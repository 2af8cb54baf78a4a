"""One export for the whole room: tracing takes ten seconds, whatever the size of the model."""

from __future__ import annotations

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

from small_export import FRAMES, Exported, restless  # noqa: E402

from worldmodel.export import folder  # noqa: E402
from worldmodel.export.parity import rows_needed  # noqa: E402
from worldmodel.export.starts import Stretches, synthetic  # noqa: E402
from worldmodel.models.base import load_model, save_weights  # noqa: E402


@pytest.fixture(scope="session")
def stretches() -> Stretches:
    return synthetic(num=3, rows=rows_needed(FRAMES), seed=1)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, stretches: Stretches) -> Exported:
    """A Mamba-2 with our heads: all three graphs, taking noise, with the whole report."""
    place = tmp_path_factory.mktemp("export")
    weights = place / "weights.safetensors"
    save_weights(restless("mamba2", "residual"), weights)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "_stretches", lambda dataset, options: stretches)
        patch.setattr(folder.speed, "BATCHES", (1, 4))
        report = folder.export(
            weights, place / "out", options=folder.Options(int8=True, half=True, sampling=True), say=said.append
        )
    return Exported(place / "out", weights, load_model(weights), said, report)
