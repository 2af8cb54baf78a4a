"""docs/metrics.md says what the table says."""

from pathlib import Path

from worldmodel.evaluation.document import metrics_document

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_metrics_document_is_current() -> None:
    assert DOCUMENT.read_text() == metrics_document(), "run: python -m worldmodel.evaluation.document > docs/metrics.md"
